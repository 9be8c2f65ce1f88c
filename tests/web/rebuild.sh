#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# The built page in the repository is what its sources give. Needs Node and the packages of web/package-lock.json.
set -eu

source_dir=${KMS_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
command -v npm >/dev/null || { echo "skipped: npm is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$source_dir/web/." "$work"
rm -rf "$work/dist" "$work/node_modules"
cd "$work"
npm ci --no-audit --no-fund >npm.log 2>&1 || { echo "skipped: npm ci: $(grep -m1 'npm error' npm.log)"; exit 77; }
npm run build >build.log 2>&1 || { cat build.log; exit 1; }
diff -r dist "$source_dir/web/dist" || { echo "web/dist is not what web/src gives: npm run build"; exit 1; }
