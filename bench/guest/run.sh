#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every figure of guests, in one go: rows, targets, and whether they hold. About 3 minutes a turn.
#
#	bench/guest/run.sh [--turns N] [--only ours gaps linux]
#
# KMS_BUILD names the build folder (build/release). Kernels that cannot be downloaded are left out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
turns=5
parts="ours gaps linux"
while [ $# -gt 0 ]; do
	case $1 in
	--turns)
		turns=$2
		shift 2
		;;
	--only)
		shift
		parts=$*
		break
		;;
	*)
		sed -n 's/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
done
status=0
for part in $parts; do
	case $part in
	ours) python3 "$here/guest.py" --turns "$turns" || status=1 ;;
	gaps) python3 "$here/gaps.py" --turns "$turns" || status=1 ;;
	linux) python3 "$here/linux.py" --turns "$turns" || [ $? = 77 ] || status=1 ;;
	esac
done
exit $status
