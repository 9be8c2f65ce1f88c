# shellcheck shell=bash
# No path of the machine on which somebody happened to work gets into the repository.
tracked() {
	git ls-files -z 2>/dev/null || find . -type f -not -path './build/*' -not -path './.git/*' -print0
}

# Folders at the root of a file system that no Debian machine has, and people's home folders.
if tracked | xargs -0 grep -nIE '(^|[^[:alnum:]_./~-])/(work|farm|home/[a-z]+|root)/' --; then
	echo "an absolute path of one machine is in a tracked file"
	exit 1
fi
