#!/usr/bin/env bash
# tests/run.sh [ARGUMENTS OF cargo test] — sets up what the tests need, and runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
chmod 755 "$scratch"
trap 'tests/setup.sh "$scratch/postgres" stop; tests/setup-s3.sh "$scratch/s3" stop; rm -rf "$scratch"' EXIT
MILLSTREAM_TEST_POSTGRES=$(tests/setup.sh "$scratch/postgres")
export MILLSTREAM_TEST_POSTGRES
MILLSTREAM_TEST_S3=$(tests/setup-s3.sh "$scratch/s3")
export MILLSTREAM_TEST_S3
cargo test --features full "$@"
