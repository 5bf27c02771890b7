#!/usr/bin/env bash
# install.sh [DIR]: an Apache Flink 2.3.0 to ask. Its Python package carries the jars; it goes by pip into a virtual
# environment in DIR (356 MB), with our classes (java/) compiled beside it. A JDK of 17 or later is used where there is one, and
# installed by apt-get where there is none and this runs as root. What is there already is left as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${MILLSTREAM_FLINK:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream-flink}}

need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
  apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -qy "$2" >&2
}
need javac openjdk-17-jdk-headless
need python3 python3-venv
[ -x "$dir/bin/pip" ] || python3 -m venv "$dir"
[ -n "$("$dir/bin/pip" list 2>/dev/null | grep '^apache-flink-libraries  *2\.3\.0')" ] || "$dir/bin/pip" install -q apache-flink-libraries==2.3.0

ln -sfn "$("$dir/bin/python" -c 'import pyflink.version as v, os; print(os.path.dirname(v.__file__))')" "$dir/flink"
if [ -n "$(find "$here/java" -type f -newer "$dir/classes" 2>/dev/null || echo none)" ]; then
  rm -rf "$dir/classes"
  mkdir -p "$dir/classes"
  javac -nowarn -Xlint:none --release 17 -cp "$dir/flink/lib/*" -d "$dir/classes" "$here"/java/millstream/*.java 2> "$dir/javac.log" \
    || { cat "$dir/javac.log" >&2; exit 1; }
  cp -r "$here/java/META-INF" "$dir/classes/"
  touch "$dir/classes"
fi
echo "$dir"
