#!/usr/bin/env bash
# tests/setup.sh DIR — what the tests need beside cargo: a PostgreSQL server for the feature `jdbc`, installed by package
# manager where it is missing (as root), started on a free loopback port with its data in DIR. Prints its address;
# `tests/setup.sh DIR stop` ends it.
set -euo pipefail
dir=${1:?a folder for the server\'s data}

programs() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true; }
as_server() { if [ "$(id -u)" = 0 ]; then su postgres -s /bin/bash -c "$*"; else bash -c "$*"; fi; }

bin=$(programs)
if [ "${2:-}" = stop ]; then
  as_server "'$bin/pg_ctl' -D '$dir/data' -m immediate stop" >&2 || true
  exit 0
fi
if [ -z "$bin" ]; then
  [ "$(id -u)" = 0 ] || { echo "PostgreSQL is missing: apt-get install postgresql" >&2; exit 1; }
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy postgresql; } >&2
  bin=$(programs)
fi
mkdir -p "$dir"
[ "$(id -u)" = 0 ] && chown postgres "$dir"
as_server "'$bin/initdb' -D '$dir/data' -A trust -U postgres --no-sync" >&2
for _ in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 20000))
  settings="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c fsync=off"
  if as_server "'$bin/pg_ctl' -D '$dir/data' -l '$dir/log' -w -o '$settings' start" >&2; then
    echo "postgresql://postgres@127.0.0.1:$port/postgres"
    exit 0
  fi
done
cat "$dir/log" >&2
exit 1
