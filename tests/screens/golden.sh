#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One frame of each view of the fixture's run, at two sizes and in ASCII, against golden/.
#
#	golden.sh            compares
#	golden.sh --update   writes them anew; look at the difference before you commit it
set -u

golden=${0%/*}/golden
CLI=${KMS_BUILD_DIR:?}/test/cli_tool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo fixture >"$work/run.kms"
export TZ=UTC LC_ALL=C.UTF-8
unset NO_COLOR XDG_RUNTIME_DIR
failed=0
frames=0

# frame NAME OPTIONS...
frame() {
	local name=$1
	shift
	frames=$((frames + 1))
	if ! "$CLI" top --once "$@" "$work/run.kms" >"$work/$name.txt" 2>"$work/err"; then
		echo "FAILED $name: $(cat "$work/err")"
		failed=$((failed + 1))
	elif [ "${update:-}" ]; then
		cp "$work/$name.txt" "$golden/$name.txt"
	elif ! diff -u "$golden/$name.txt" "$work/$name.txt"; then
		echo "FAILED $name"
		failed=$((failed + 1))
	fi
}

[ "${1:-}" = --update ] && update=1
for size in 80x24 140x45; do
	for view in 1 2 3 4 5 6; do
		frame "$size-$view" --size "$size" --view "$view"
	done
done
frame 80x45-3 --size 80x45 --view 3
frame 60x20 --size 60x20
frame ascii --ascii --size 100x24
frame braille --glyphs braille --size 80x24
frame target --target 2 --size 100x24

# no line is wider than the screen, whatever the names are
for file in "$work"/80x24-*.txt; do
	if [ "$(wc -l <"$file")" != 24 ] || [ "$(wc -L <"$file")" -gt 80 ]; then
		echo "FAILED ${file##*/} is $(wc -L <"$file") x $(wc -l <"$file")"
		failed=$((failed + 1))
	fi
done
if LC_ALL=C grep -q '[^ -~]' "$work/ascii.txt"; then
	echo "FAILED --ascii has other characters"
	failed=$((failed + 1))
fi
echo "$frames frames, $failed failures"
[ "$failed" = 0 ] && [ "$frames" = 17 ]
