# shellcheck shell=bash
# cppcheck over the C sources.
need cppcheck
mapfile -t files < <(sources '*.c')
[ ${#files[@]} -gt 0 ] || exit 0
cache=${KMS_BUILD_DIR:-build}/cppcheck
mkdir -p "$cache"
cppcheck --quiet --std=c11 --library=posix --enable=warning,performance,portability --inline-suppr \
	--error-exitcode=1 --suppressions-list=.ci/cppcheck-suppressions.txt \
	--cppcheck-build-dir="$cache" -j "$(nproc)" -D_GNU_SOURCE -D__x86_64__ -I . "${files[@]}"
