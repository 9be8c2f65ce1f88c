# shellcheck shell=bash
# Includes go the way that .ci/layering.rules allows.
bad=0
mapfile -t rules < <(sed 's/#.*//; /^[[:space:]]*$/d' .ci/layering.rules)

finding() {
	echo "$1: $2"
	bad=1
}

# matches TEXT PATTERN...
matches() {
	local text=$1 pattern
	shift
	for pattern in "$@"; do
		# shellcheck disable=SC2053 # a pattern on purpose
		[[ $text == $pattern ]] && return 0
	done
	return 1
}

# "dir/x.h": from the project.
check_project() {
	local file=$1 header=$2 place=$3 rule words
	for rule in "${rules[@]}"; do
		read -ra words <<<"$rule"
		[ "${words[0]}" = may ] || continue
		matches "$file" "${words[1]}" || continue
		matches "$header" "${words[@]:2}" || finding "$place" "may not include \"$header\""
		[ -r "$header" ] || finding "$place" "\"$header\" is no path from the project root"
		return
	done
	finding "$place" "no rule in .ci/layering.rules says what this file may include"
}

# <x.h>: from the system or a third party.
check_system() {
	local file=$1 header=$2 place=$3 rule words restricted=no
	for rule in "${rules[@]}"; do
		read -ra words <<<"$rule"
		if [ "${words[0]}" = only ] && [ "$restricted" = no ] && matches "$file" "${words[1]}"; then
			restricted=yes
			matches "$header" "${words[@]:2}" ||
				finding "$place" "may not include <$header>, only: ${words[*]:2}"
		elif [ "${words[0]}" = door ] && matches "$header" "${words[1]}"; then
			matches "$file" "${words[@]:2}" ||
				finding "$place" "<$header> belongs to: ${words[*]:2}"
		fi
	done
}

set -f # the rules' patterns are not file names here
include='^([^:]+):([0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*(["<])([^">]+)[">]'
while IFS= read -r line; do
	if [[ $line =~ $include ]]; then
		file=${BASH_REMATCH[1]} place=${BASH_REMATCH[1]}:${BASH_REMATCH[2]}
		if [ "${BASH_REMATCH[3]}" = '"' ]; then
			check_project "$file" "${BASH_REMATCH[4]}" "$place"
		else
			check_system "$file" "${BASH_REMATCH[4]}" "$place"
		fi
	fi
done < <(sources '*.c' '*.h' '*.S' | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null)
exit $bad
