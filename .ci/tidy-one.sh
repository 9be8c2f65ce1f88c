#!/bin/bash
# clang-tidy over one file, for .ci/checks/tidy.sh, which runs several at a time.
#
#   .ci/tidy-one.sh BUILD-FOLDER FILE
set -u

# Left out for tests and benches: they end a process where they stand and run in one thread (mt-unsafe), name functions after
# the linker's --wrap (reserved-identifier, dcl37, naming), multiply small constants (widening), and the analyzer cannot know
# that cmocka's asserts do not return.
relaxed="-concurrency-mt-unsafe,-bugprone-reserved-identifier,-cert-dcl37-c"
relaxed+=",-readability-identifier-naming,-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-*"

checks=()
case $2 in
*/test/* | tests/* | bench/*) checks=(--checks="$relaxed") ;;
esac
# stderr only counts the warnings of system headers
exec clang-tidy-14 --quiet -p "$1" "${checks[@]}" --extra-arg=-Wno-unknown-warning-option "$2" 2>/dev/null
