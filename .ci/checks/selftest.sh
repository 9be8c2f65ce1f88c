# shellcheck shell=bash
# The checks find what they are for: each is run over a small tree with one planted violation, and over the same tree without it.
# A check that cannot fail would pass for ever and unnoticed.
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
mkdir -p "$place"/{base,allocator,schema,tracer,other,build}
cp -r .ci .clang-format .clang-tidy "$place"
cd "$place" || exit 1
export KMS_BUILD_DIR=$place/build KMS_TIDY_ALL=1
bad=0

printf '#ifndef A_H\n#define A_H\n\nint a(void);\n\n#endif\n' >base/a.h
printf '#include "base/a.h"\n\nint a(void)\n{\n\treturn 1;\n}\n' >base/a.c
printf '#ifndef L_H\n#define L_H\n\n#include <stdint.h>\n\n#endif\n' >schema/l.h
printf '#include "schema/l.h"\n\nint core(void);\n\nint core(void)\n{\n\treturn 1;\n}\n' >allocator/core.c
printf 'allocator/core.c\n' >allocator/core.list
printf '[{"directory": "%s", "file": "%s/%s", "arguments": ["gcc", "-I.", "-c", "%s"]}]\n' \
	"$place" "$place" base/a.c base/a.c >build/compile_commands.json

# expect STATUS CHECK WHAT
expect() {
	local output status
	output=$(.ci/check.sh "$2" 2>&1)
	status=$?
	[ "$status" -eq 77 ] && return
	if [ "$status" -ne "$1" ]; then
		echo "$2: $3: exit status $status instead of $1"
		[ -n "$output" ] && echo "$output"
		bad=1
	fi
}

# planted CHECK FILE WHAT: stdin is added to FILE (made if need be); the check must fail now, and pass again without it.
planted() {
	local check=$1 file=$2 what=$3
	[ -e "$file" ] && cp "$file" saved
	cat >>"$file"
	expect 1 "$check" "$what not found"
	rm -f "$file"
	[ -e saved ] && mv saved "$file"
	expect 0 "$check" "finding in a clean tree after: $what"
}

for check in format layering headers size spell shell freestanding workplace cppcheck tidy; do
	expect 0 "$check" "finding in a clean tree"
done
planted format base/a.c 'indentation' <<<$'int  b ( void );'
planted layering base/a.c 'include of a higher component' <<<'#include "tracer/t.h"'
planted layering allocator/core.c 'include by relative path' <<<'#include "l.h"'
planted layering tracer/t.c 'third-party header beside its door' <<<'#include <microhttpd.h>'
planted layering schema/l.h 'library header in a layout' <<<'#include <stdio.h>'
planted layering other/x.c 'file without a rule' <<<'#include "base/a.h"'
planted headers base/b.h 'header that needs another' <<<'size_t b(void);'
planted size base/a.c 'long function' < <(printf '\nint b(void)\n{\n' && yes '	;' | head -n 81 && printf '\treturn 1;\n}\n')
planted size base/b.c 'long file' < <(yes '' | head -n 701)
planted spell base/a.c 'misspelt word' <<<"/* rec""ieve */"
planted shell base/x.sh 'unquoted variable' <<<$'#!/bin/sh\nrm $1'
planted freestanding allocator/core.c 'library call in the core' <<<$'void exit(int);\nvoid leave(void);\nvoid leave(void)\n{\n\texit(1);\n}'
planted freestanding allocator/core.c 'floating point in the core' <<<$'double f(double x);\ndouble f(double x)\n{\n\treturn x * 2;\n}'
planted freestanding schema/l.h 'header that needs a C library' <<<'#include <stdio.h>'
planted workplace base/a.c 'path of a machine' <<<"/* see /""work/notes */"
planted cppcheck base/a.c 'read behind an array' <<<$'int b(void)\n{\n\tint x[2] = {0};\n\n\treturn x[2];\n}'
planted tidy base/a.c 'self comparison' <<<$'int b(int x);\nint b(int x)\n{\n\treturn x == x;\n}'
planted tidy .clang-tidy 'check that does not exist' <<<'Checks: bugprone-no-such'
exit $bad
