# shellcheck shell=bash
# Spelling of sources and documents; words of the trade stand in .ci/spell-ignore.txt.
need codespell
mapfile -t files < <(sources '*.c' '*.h' '*.S' '*.md' '*.sh' '*.sql' '*.yaml' '*.txt' '*.cmake' 'Makefile' '.ci/*')
[ ${#files[@]} -gt 0 ] || exit 0
codespell -I .ci/spell-ignore.txt "${files[@]}" || exit 1
