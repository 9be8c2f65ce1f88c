# shellcheck shell=bash
# Shell scripts, found by name or by first line.
need shellcheck
mapfile -t files < <(sources '*.sh' '*.lib' '.ci/*' | while IFS= read -r file; do
	case $file in
	*.sh | *.lib) echo "$file" ;;
	*) head -n 1 "$file" | grep -qE '^#!.*\b(ba)?sh\b' && echo "$file" ;;
	esac
done)
[ ${#files[@]} -gt 0 ] || exit 0
shellcheck -x "${files[@]}"
