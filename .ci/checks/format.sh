# shellcheck shell=bash
# C sources are in the format of .clang-format. With --fix they are brought into it: those named, else all.
need clang-format-14
fix=no
if [ "${1:-}" = --fix ]; then
	fix=yes
	shift
fi
files=()
for file in "$@"; do
	# of a list of changed files the others are left alone: the formatter takes anything for C
	[[ $file == *.[ch] ]] && files+=("$file")
done
if [ $# -eq 0 ]; then
	mapfile -t files < <(sources '*.c' '*.h')
fi
[ ${#files[@]} -gt 0 ] || exit 0
if [ "$fix" = yes ]; then
	clang-format-14 -i "${files[@]}"
	exit
fi
clang-format-14 --dry-run -Werror "${files[@]}" 2>&1 |
	awk -F: '/code should be clang-formatted/ { n[$1]++; if (n[$1] == 1) first[$1] = $2 }
	END { for (f in n) { printf "%s:%d: %d places out of format (.ci/check.sh format --fix %s)\n", f, first[f], n[f], f; bad = 1 }
	exit bad }'
