#!/bin/bash
# Configures and builds one preset, quietly unless it fails.
#
#   .ci/build.sh PRESET TARGET
set -u

cd "$(dirname "$0")/.." || exit 1
preset=$1
target=$2
log=build/$preset.log

mkdir -p build
echo "building kmemscope (preset $preset)"
if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target "$target"; } >"$log" 2>&1; then
	tail -n 40 "$log" >&2
	echo "build failed: the whole log is in $log" >&2
	exit 1
fi
