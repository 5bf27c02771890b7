#!/usr/bin/env bash
# tests/run.sh [ARGUMENTS OF cargo test] — sets up what the tests need, and runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
chmod 755 "$scratch"
trap 'tests/setup.sh "$scratch/postgres" stop
  tests/setup-kafka.sh "$scratch/kafka" stop
  tests/setup-registry.sh "$scratch/registry" stop
  tests/setup-s3.sh "$scratch/s3" stop
  rm -rf "$scratch"' EXIT
MILLSTREAM_TEST_POSTGRES=$(tests/setup.sh "$scratch/postgres")
MILLSTREAM_TEST_KAFKA_DIR=$scratch/kafka
MILLSTREAM_TEST_KAFKA=$(tests/setup-kafka.sh "$MILLSTREAM_TEST_KAFKA_DIR")
MILLSTREAM_TEST_REGISTRY=$(tests/setup-registry.sh "$scratch/registry")
MILLSTREAM_TEST_S3=$(tests/setup-s3.sh "$scratch/s3")
export MILLSTREAM_TEST_POSTGRES MILLSTREAM_TEST_KAFKA MILLSTREAM_TEST_KAFKA_DIR MILLSTREAM_TEST_REGISTRY MILLSTREAM_TEST_S3
cargo test --features full "$@"
