#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The measurements next to their peers: rows, targets, and whether they hold. See run.py --help.
#
#	bench/run.sh [--turns N] [--only WORKLOAD...] [--no-heaptrack]
#
# KMS_BUILD names the build folder (build/release). Peers that are not installed are left out.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/run.py" "$@"
