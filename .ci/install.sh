#!/bin/bash
# Installs the Debian packages of some groups that are missing, and says which.
#
#   .ci/install.sh GROUP...        groups of .ci/packages.txt
#
# Does nothing, and uses no network, when all are there. As another user than root it asks sudo. Exit status 0: all are
# there now; 1: some are missing and could not be installed; they are named.
set -u

here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
policy_made=no

say() {
	printf 'packages: %s\n' "$*"
}

wanted() {
	local group
	for group in "$@"; do
		awk -v group="$group" '$1 == group { print $2 }' "$here/packages.txt"
	done
}

# Those of the packages on stdin that are not installed.
missing() {
	local package
	while read -r package; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			echo "$package"
	done
}

# How to become root: nothing, sudo, or "no".
root_by() {
	if [ "$(id -u)" -eq 0 ]; then
		echo ""
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		echo sudo
	else
		echo no
	fi
}

# redis-server's package would start a server on its usual port. Debian's own switch for that is policy-rc.d; one that
# is there already is the administrator's and stays.
forbid_services() {
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null || return
	policy_made=yes
	$as_root chmod 755 "$policy"
}

allow_services() {
	[ "$policy_made" = yes ] && $as_root rm -f "$policy"
}

install_packages() {
	local log options=(-y -qq --no-install-recommends -o Dpkg::Use-Pty=0)
	# The package lists may be missing or old: only then is the network asked for them.
	$as_root env DEBIAN_FRONTEND="$DEBIAN_FRONTEND" apt-get install "${options[@]}" "$@" \
		</dev/null >/dev/null 2>&1 && return
	# What dpkg tells of each package is of use only where it failed.
	log=$(mktemp) || return
	if ! { $as_root apt-get update -qq &&
		$as_root env DEBIAN_FRONTEND="$DEBIAN_FRONTEND" apt-get install "${options[@]}" "$@"; } \
		</dev/null >"$log" 2>&1; then
		tail -n 20 "$log" >&2
	fi
	rm -f "$log"
}

if [ $# -eq 0 ]; then
	echo "usage: $0 GROUP... (groups of .ci/packages.txt)" >&2
	exit 2
fi
if ! command -v dpkg-query >/dev/null; then
	say "this is no Debian system; needed are its equivalents of:" "$(wanted "$@" | xargs)"
	exit 0
fi
mapfile -t todo < <(wanted "$@" | missing)
if [ ${#todo[@]} -eq 0 ]; then
	exit 0
fi

say "missing: ${todo[*]}"
as_root=$(root_by)
if [ "$as_root" = no ]; then
	say "cannot install them: neither root nor sudo. As root: apt-get install ${todo[*]}"
	exit 1
fi
trap allow_services EXIT
forbid_services
say "installing them"
install_packages "${todo[@]}"
mapfile -t still < <(printf '%s\n' "${todo[@]}" | missing)
if [ ${#still[@]} -gt 0 ]; then
	say "could not install: ${still[*]}"
	exit 1
fi
say "done"
