#!/usr/bin/env bash
# tests/run.sh [ARGUMENTS OF cargo test] — sets up what the tests need, and runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
chmod 755 "$scratch"
trap 'tests/setup.sh "$scratch/postgres" stop; rm -rf "$scratch"' EXIT
MILLSTREAM_TEST_POSTGRES=$(tests/setup.sh "$scratch/postgres")
export MILLSTREAM_TEST_POSTGRES
cargo test --features full "$@"
