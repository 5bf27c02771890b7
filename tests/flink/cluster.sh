#!/usr/bin/env bash
# cluster.sh start | run SCRIPT.sql | stop: a Flink cluster on the loopback interface, and Millstream's scripts on it, unchanged.
# Paths in a script lead from the directory that the cluster was started in. `run` prints what a SELECT gives, as
# `millstream run` prints it.
set -euo pipefail
source "$(dirname "$0")/java.sh"
pids="$flink/cluster.pids"

running() { [ -e "$pids" ] && xargs kill -0 < "$pids" 2>/dev/null; }

start() {
  running && return
  run_java -Xmx512m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint --configDir "$here/conf" \
    > "$flink/jobmanager.out" 2>&1 &
  echo $! > "$pids"
  run_java -Xmx1g -XX:MaxDirectMemorySize=1g org.apache.flink.runtime.taskexecutor.TaskManagerRunner --configDir "$here/conf" \
    > "$flink/taskmanager.out" 2>&1 &
  echo $! >> "$pids"
  for _ in $(seq 120); do
    curl -sf http://127.0.0.1:8081/overview 2>/dev/null | grep -q '"taskmanagers":1' && return
    running || break
    sleep 0.5
  done
  echo "the cluster does not start: $flink/*.out" >&2
  exit 1
}

case ${1:-} in
  start) start ;;
  run) run_java -Xmx512m millstream.Submit 8081 "${2:?a script}" ;;
  stop) [ ! -e "$pids" ] || { xargs kill < "$pids" || true; rm -f "$pids"; } ;;
  *) sed -n '2,4s/^# //p' "$0"; exit 1 ;;
esac
