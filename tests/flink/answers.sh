#!/usr/bin/env bash
# answers.sh [write|check|print|explain] [SCRIPT…]: what Flink answers to conformance scripts, all of them (tests/it/flink/*.sql)
# unless some are named, many at a time in one JVM.
#
#   write    each answer beside its script; one that is there and the same (see README.md) stays, byte for byte
#   check    says which answers differ from those that are there, and fails when any does
#   print    prints them
#   explain  prints Flink's plans, with changelog modes
set -euo pipefail
source "$(dirname "$0")/java.sh"
what=${1:-check}
shift || true
[ $# -gt 0 ] || set -- "$here"/../it/flink/*.sql
run_java -Xmx3g -Dpause="${PAUSE_MS:-60}" millstream.Ask "$what" "$@"
