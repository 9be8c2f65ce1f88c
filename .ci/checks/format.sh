# shellcheck shell=bash
# C sources are in the format of .clang-format. With --fix they are brought into it.
need clang-format-14
mapfile -t files < <(sources '*.c' '*.h')
[ ${#files[@]} -gt 0 ] || exit 0
if [ "${1:-}" = --fix ]; then
	clang-format-14 -i "${files[@]}"
else
	clang-format-14 --dry-run -Werror "${files[@]}"
fi
