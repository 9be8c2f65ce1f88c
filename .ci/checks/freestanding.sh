# shellcheck shell=bash
# The allocator core links without a C library, as a kernel would build it.
#
# allocator/core.list names its sources, one path a line. What the linked core still needs may only be its port and the
# four functions that every C compiler assumes. The layout headers of schema/ must also hold on a 32-bit machine.
bad=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
flags=(-std=c11 -O2 -ffreestanding -nostdlib -mgeneral-regs-only -mno-red-zone -fno-stack-protector
	-mcmodel=kernel -fno-pic -fno-pie -U_FORTIFY_SOURCE -I. -Wall -Wextra -Werror)
# kms_unwind_* is the second half of the port (allocator/unwind.h): how to step out of a frame.
allowed='^(kms_port_[a-z0-9_]+|kms_unwind_[a-z0-9_]+|memcpy|memset|memmove|memcmp)$'

link_core() {
	local source object objects=()
	while IFS= read -r source; do
		object=$work/$(echo "$source" | tr / _).o
		if gcc "${flags[@]}" -c "$source" -o "$object"; then
			objects+=("$object")
		else
			bad=1
		fi
	done < <(sed 's/#.*//; /^[[:space:]]*$/d' allocator/core.list)
	[ "$bad" -eq 0 ] || return
	if ! ld -r -o "$work/core.o" "${objects[@]}"; then
		bad=1
	elif nm -u "$work/core.o" | awk '{ print $2 }' | grep -vE "$allowed"; then
		echo "the core needs the functions above; only kms_port_*, kms_unwind_* and memcpy, memset, memmove, memcmp are allowed"
		bad=1
	fi
	echo "core: ${#objects[@]} files, $(nm -u "$work/core.o" | wc -l) functions of its port"
}

check_layouts() {
	local header bits
	while IFS= read -r header; do
		for bits in 32 64; do
			if ! printf '#include "%s"\ntypedef int not_empty;\n' "$header" |
				gcc -m$bits -std=c11 -ffreestanding -I. -Wall -Wextra -Werror -Wno-unused \
					-fsyntax-only -x c -; then
				echo "$header: not freestanding on $bits bits"
				bad=1
			fi
		done
	done < <(sources 'schema/*.h')
}

if [ -r allocator/core.list ]; then
	link_core
fi
check_layouts
exit $bad
