#!/bin/bash
# clang-tidy over one file, for .ci/checks/tidy.sh, which runs several at a time.
#
#   .ci/tidy-one.sh BUILD-FOLDER FILE
set -u

# Left out for tests and benches: they end a process where they stand and run in one thread (mt-unsafe), name functions after
# the linker's --wrap (reserved-identifier, dcl37, naming), multiply small constants (widening), and the analyzer cannot know
# that cmocka's asserts do not return. Their arguments are their own (err34), nothing can be done about a message that was not
# flushed (err33), each of their checks counts as a branch (complexity), they recurse to have deep stacks, make pointers of
# numbers to have wrong ones, and hand strcmp's result on. One stands in front of libc, as the code below.
relaxed="-concurrency-mt-unsafe,-bugprone-reserved-identifier,-cert-dcl37-c"
relaxed+=",-readability-identifier-naming,-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-*"
relaxed+=",-cert-err33-c,-cert-err34-c,-misc-no-recursion,-performance-no-int-to-ptr,-bugprone-suspicious-string-compare"
relaxed+=",-readability-function-cognitive-complexity,-readability-inconsistent-declaration-parameter-name"

checks=()
case $2 in
*/test/* | tests/* | bench/*) checks=(--checks="$relaxed") ;;
esac
# Code in front of libc defines its functions, whose parameters have no names that others may use.
case $2 in
allocator/preload/*) checks=(--checks=-readability-inconsistent-declaration-parameter-name) ;;
esac
# gcc's attributes are not clang's; asserts say what the analyzer cannot know.
# stderr only counts the warnings of system headers
exec clang-tidy-14 --quiet -p "$1" "${checks[@]}" --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unknown-attributes \
	--extra-arg=-UNDEBUG "$2" 2>/dev/null
