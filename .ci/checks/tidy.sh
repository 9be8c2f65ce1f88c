# shellcheck shell=bash
# clang-tidy, after the list in .clang-tidy.
#
# Looks at the C files that changed since the commit before the last, as many as fit into KMS_TIDY_SECONDS; with
# KMS_TIDY_ALL=1 at all. Files that no target compiles (guest code, other presets) have no flags and are passed over.
need clang-tidy-14
database=${KMS_BUILD_DIR:-build/dev}
if ! [ -r "$database/compile_commands.json" ]; then
	echo "no $database/compile_commands.json: configure a preset first"
	exit 1
fi
budget=${KMS_TIDY_SECONDS:-120}

# A mistyped check name is silently ignored by clang-tidy 14: every name that is switched on must match an existing one.
known=$(clang-tidy-14 --list-checks --checks='*' | sed -n 's/^ *//p')
mapfile -t listed < <(sed -n '/^Checks:/,/^WarningsAsErrors/p' .clang-tidy | sed 's/#.*//' |
	grep -oE '[a-z]+-[a-zA-Z0-9.*-]+' | sort -u)
for check in "${listed[@]}"; do
	# shellcheck disable=SC2254 # a pattern on purpose
	if ! grep -qE "^${check//\*/.*}$" <<<"$known"; then
		echo ".clang-tidy: clang-tidy 14 has no check $check"
		exit 1
	fi
done

changed() {
	{ git diff --name-only HEAD~1 -- '*.c' && git ls-files -o --exclude-standard -- '*.c'; } 2>/dev/null | sort -u
}

compiled() {
	while IFS= read -r file; do
		grep -qF "\"$PWD/$file\"" "$database/compile_commands.json" && echo "$file"
	done
}

if [ "${KMS_TIDY_ALL:-0}" = 1 ]; then
	mapfile -t files < <(sources '*.c' | compiled)
	budget=100000
else
	mapfile -t files < <(changed | compiled)
fi
[ ${#files[@]} -gt 0 ] || exit 0

bad=0
done_files=0
batch=$(nproc)
for ((i = 0; i < ${#files[@]}; i += batch)); do
	if [ "$SECONDS" -ge "$budget" ]; then
		break
	fi
	printf '%s\n' "${files[@]:i:batch}" |
		xargs -P "$batch" -n 1 .ci/tidy-one.sh "$database" || bad=1
	done_files=$((i + batch < ${#files[@]} ? i + batch : ${#files[@]}))
done
echo "clang-tidy: $done_files of ${#files[@]} files looked at"
exit $bad
