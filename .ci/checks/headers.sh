# shellcheck shell=bash
# Each header compiles alone: it includes all it uses.
bad=0
flags=(-std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -Wno-unused -fsyntax-only)
compile_alone() {
	printf '#include "%s"\ntypedef int not_empty;\n' "$1" | gcc "${flags[@]}" -x c -
}

while IFS= read -r header; do
	if ! compile_alone "$header"; then
		echo "$header: does not compile alone"
		bad=1
	fi
done < <(sources '*.h')
exit $bad
