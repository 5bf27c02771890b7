#!/usr/bin/env bash
# tests/setup-registry.sh DIR [stop] — a real schema registry for the tests of the feature `avro`: Apicurio's, which speaks the interface
# of Confluent's, from the Java registry, run with the machine's Java in memory on a free loopback port, with all it has in DIR.
# Installs Java and Maven by package manager where they are missing (as root). Prints its address.
set -euo pipefail
version=2.6.13.Final
dir=${1:?a folder for the registry}
mkdir -p "$dir"

if [ "${2:-}" = stop ]; then
  if [ -s "$dir/pid" ]; then kill -KILL "-$(cat "$dir/pid")" 2>/dev/null || true; fi
  rm -f "$dir/pid"
  exit 0
fi

need() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$2"; } >&2
}

need java openjdk-17-jre-headless
need mvn maven
jar="$dir/apicurio-registry-app-$version-runner.jar"
[ -e "$jar" ] || {
  mvn -q -B dependency:copy -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" -DoutputDirectory="$dir/download" >&2
  tar xzf "$dir/download/"*.tar.gz -C "$dir"
  rm -r "$dir/download"
}
for _ in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 20000))
  ( exec setsid java -Xmx384m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port=$port -jar "$jar" ) >"$dir/log" 2>&1 </dev/null &
  pid=$!
  echo $pid >"$dir/pid"
  for _ in $(seq 600); do
    kill -0 $pid 2>/dev/null || break
    if grep -q "Listening on: http://127.0.0.1:$port" "$dir/log"; then
      echo "http://127.0.0.1:$port/apis/ccompat/v7"
      exit 0
    fi
    sleep 0.1
  done
  kill -KILL "-$pid" 2>/dev/null || true
done
tail -n 50 "$dir/log" >&2
exit 1
