# Sourced: installs Flink where it is not there yet, and gives run_java OPTIONS… CLASS ARGS…, which ends the shell that calls it.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
flink=$("$here/install.sh" | tail -n 1)
options=(-Dlog4j.configurationFile="$here/conf/log4j.properties" -Dlog.file="$flink/flink.log")
for package in lang lang.reflect net io nio text time util util.concurrent util.concurrent.atomic util.concurrent.locks; do
  options+=("--add-opens=java.base/java.$package=ALL-UNNAMED")
done
run_java() {
  exec java "${options[@]}" -cp "$flink/classes:$flink/flink/lib/*" "$@"
}
