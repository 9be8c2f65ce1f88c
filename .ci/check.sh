#!/bin/bash
# One check of the sources; people, CTest and CI all come here.
#
#   .ci/check.sh NAME [ARGS]       NAME: a file of .ci/checks/ without its .sh, or "all"
#
# Exit status 0: fine; 1: findings, printed as file:line where there is one; 77: the check's tool is not installed.
set -u

cd "$(dirname "$0")/.." || exit 1
# shellcheck source=.ci/checks.lib
. .ci/checks.lib

names() {
	basename -s .sh -a .ci/checks/*.sh
}

run_all() {
	local name bad=0
	for name in $(names); do
		"$0" "$name"
		case $? in
		0) echo "ok       $name" ;;
		77) echo "skipped  $name" ;;
		*) echo "FAILED   $name" && bad=1 ;;
		esac
	done
	return $bad
}

name=${1:-}
if [ "$name" = all ]; then
	run_all
	exit
fi
if [ -z "$name" ] || ! [ -r ".ci/checks/$name.sh" ]; then
	echo "usage: $0 all|$(names | paste -sd '|')" >&2
	exit 2
fi
shift
# shellcheck source=/dev/null
. ".ci/checks/$name.sh"
