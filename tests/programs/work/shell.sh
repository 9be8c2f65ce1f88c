#!/bin/bash
# Subshells, pipes, arrays, here-documents, traps, jobs; with -u a mistake at the end.
scale=${1:-1}
declare -A seen
for ((i = 0; i < 600 * scale; i++)); do
	seen[k$((i * 7 % 211))]+="$i "
done
echo "keys ${#seen[@]}"
for ((i = 0; i < 40 * scale; i++)); do
	words=$(printf '%s\n' "${seen[k$i]}" | tr ' ' '\n' | sort -n | tail -2 | tr '\n' ' ')
	((i % 10 == 0)) && echo "$i: $words"
done
cat <<-END | sed 's/o/0/g'
	here $((scale * 3)) documents
	go ${#words} through
END
(
	trap 'echo leaving subshell' EXIT
	f() { local depth=$1; ((depth > 0)) && f $((depth - 1)) || echo "bottom"; }
	f 50
)
for ((i = 0; i < 5; i++)); do
	(exit "$i") &
	wait $!
	echo "job ended with $?"
done
exec 3< <(seq 1 20)
mapfile -t numbers <&3
echo "sum $((${numbers[*]/%/+}0))"
/bin/sh -c 'echo "from sh: $0 $#"' name a b
set -u
# shellcheck disable=SC2154 # the point is that it is not set
echo "$not_set"
