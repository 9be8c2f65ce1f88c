# shellcheck shell=bash
# No file above 700 lines, no function above 80 (from brace to brace at the start of a line).
mapfile -t files < <(sources '*.c' '*.h')
[ ${#files[@]} -gt 0 ] || exit 0
awk '
function close_file() {
	if (lines > 700) {
		printf "%s: %d lines, 700 at most\n", name, lines
		bad = 1
	}
}
FNR == 1 { close_file(); name = FILENAME; start = 0 }
{ lines = FNR }
/^\{/ { start = FNR }
/^\}/ {
	if (start && FNR - start - 1 > 80) {
		printf "%s:%d: function of %d lines, 80 at most\n", FILENAME, start, FNR - start - 1
		bad = 1
	}
	start = 0
}
END { close_file(); exit bad }' "${files[@]}"
