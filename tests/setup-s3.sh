#!/usr/bin/env bash
# tests/setup-s3.sh DIR — an S3-compatible server for the feature `s3`: moto, from Python's registry, installed where it is missing
# and started on a free loopback port with a bucket `checkpoints`. Prints its address; `tests/setup-s3.sh DIR stop` ends it.
set -euo pipefail
dir=${1:?a folder for the server}
if [ "${2:-}" = stop ]; then
  [ -e "$dir/pid" ] && kill "$(cat "$dir/pid")" 2>/dev/null || true
  exit 0
fi
mkdir -p "$dir"
# What is installed is kept for the next time, where that can be.
cache="${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/millstream-tests"
mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=$dir
venv=$cache/moto
if ! python3 -m venv --help >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || { echo "Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy python3-venv; } >&2
fi
[ -x "$venv/bin/moto_server" ] || {
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server,s3]>=5.1,<6'
} >&2
for _ in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 20000))
  "$venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  for _ in $(seq 100); do
    if curl -sf -X PUT "http://127.0.0.1:$port/checkpoints" >/dev/null 2>&1; then
      echo "http://127.0.0.1:$port"
      exit 0
    fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.1
  done
  kill "$(cat "$dir/pid")" 2>/dev/null || true
done
cat "$dir/log" >&2
exit 1
