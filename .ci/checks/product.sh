# shellcheck shell=bash
# What `make run` builds can be configured with the packages of group "run" alone: without the test library.
need cmake
need ninja

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pkg-config" <<-'EOF'
	#!/bin/sh
	case "$*" in *cmocka*) exit 1 ;; esac
	exec pkg-config "$@"
EOF
chmod +x "$folder/pkg-config"
if ! cmake --preset release -B "$folder/build" -DPKG_CONFIG_EXECUTABLE="$folder/pkg-config" >"$folder/log" 2>&1 ||
	! ninja -C "$folder/build" -n product all >>"$folder/log" 2>&1; then
	tail -n 20 "$folder/log"
	echo "without cmocka the product cannot be configured: make run fails on a fresh machine"
	exit 1
fi
