#!/usr/bin/env bash
# tests/setup-kafka.sh DIR [restart|kill|stop] — a real Apache Kafka broker for the tests of the feature `kafka`: one node, KRaft, on
# a free loopback port, with all it has in DIR; its jars come from the Java registry, and the JavaScript client KafkaJS from npm.
# Installs Java, Maven and Node by package manager where they are missing (as root). Prints its address; run again, it prints the
# address of the broker that runs. `restart` ends it in an orderly way and starts it again on the same port, `kill` ends it at once,
# `stop` too and for good.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?a folder for the broker}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

alive() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }
end() {
  alive || return 0
  kill "-$1" "$(cat "$dir/pid")" 2>/dev/null || true
  for _ in $(seq 600); do alive || break; sleep 0.1; done
  rm -f "$dir/pid"
}

need() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$2"; } >&2
}

install() {
  need java openjdk-17-jre-headless
  need mvn maven
  need npm npm
  [ -e "$dir/libs/.complete" ] || {
    mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$dir/libs" >&2
    touch "$dir/libs/.complete"
  }
  [ -e "$dir/js/node_modules/.complete" ] || {
    mkdir -p "$dir/js"
    cp "$here/kafka/package.json" "$here/kafka/produce.mjs" "$dir/js/"
    (cd "$dir/js" && npm install --no-audit --no-fund --loglevel=error >&2)
    touch "$dir/js/node_modules/.complete"
  }
}

run_java() { java -Xms256m -Xmx768m -XX:+UseG1GC -cp "$dir/libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$@"; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

configure() {
  local port=$1
  cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
auto.create.topics.enable=true
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
transaction.max.timeout.ms=3600000
P
  rm -rf "$dir/data"
  run_java kafka.tools.StorageTool random-uuid 2>/dev/null >"$dir/cluster"
  run_java kafka.tools.StorageTool format -t "$(tail -n 1 "$dir/cluster")" -c "$dir/server.properties" >&2
}

# Starts what is configured; false when it ends instead of answering.
start() {
  local port=$1
  ( exec setsid java -Xms256m -Xmx768m -XX:+UseG1GC -cp "$dir/libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    kafka.Kafka "$dir/server.properties" ) >>"$dir/log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  for _ in $(seq 600); do
    alive || return 1
    answers "$port" && return 0
    sleep 0.1
  done
  return 1
}

port_of() { sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$dir/server.properties"; }

case "${2:-start}" in
  stop | kill) end KILL; exit 0 ;;
  restart)
    end TERM
    start "$(port_of)" || { tail -n 50 "$dir/log" >&2; exit 1; }
    echo "127.0.0.1:$(port_of)"
    exit 0
    ;;
esac
install
if alive; then echo "127.0.0.1:$(port_of)"; exit 0; fi
for _ in 1 2 3 4 5; do
  port=$((20000 + RANDOM % 10000 * 2))
  if answers "$port" || answers $((port + 1)); then continue; fi
  configure "$port"
  if start "$port"; then echo "127.0.0.1:$port"; exit 0; fi
done
tail -n 50 "$dir/log" >&2
exit 1
