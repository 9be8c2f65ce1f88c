#!/bin/bash
# Configures, builds and tests a list of presets and adds up their results.
#
#   .ci/stages.sh STAGE...         a stage is PRESET, or PRESET:TESTPRESET where the test preset is named differently
#
# Each stage leaves its log and JUnit file in build/check/. The sums are printed at the end and written to
# build/check/totals as "PASSED FAILED SKIPPED". A stage that does not configure or build, that ran no test, or whose ctest
# failed without naming a test counts as one failure. Exit status 0: at least one test passed and none failed.
set -u

cd "$(dirname "$0")/.." || exit 1
results=$PWD/build/check
passed=0
failed=0
skipped=0
rows=()

# Old sanitizer runtimes need less address randomisation than new kernels use.
randomisation() {
	local bits
	bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null) || return
	if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then
		echo "setarch -R"
	fi
}

# names_of FILE STATUS: names of the tests in a JUnit file that ended so. ctest says "notrun" both of a test that asked to be
# skipped and of one that could not be started; only the first is harmless, and the line behind it tells.
names_of() {
	awk -v want="$2" '
	/<testcase / {
		name = status = $0
		sub(/.* name="/, "", name); sub(/".*/, "", name)
		sub(/.* status="/, "", status); sub(/".*/, "", status)
		if (status == "disabled")
			status = "skip"
		else if (status == "notrun") {
			getline
			status = /SKIP_RETURN_CODE/ ? "skip" : "fail"
		}
		if (status == want)
			print name
	}' "$1" 2>/dev/null
}

add_row() {
	rows+=("$(printf '%-10s %6s %6s %6s  %4ss  %s' "$@")")
}

run_stage() {
	local preset=${1%%:*} tests=${1##*:} start=$SECONDS
	local junit=$results/$tests.xml log=$results/$tests.log

	rm -f "$junit"
	echo "== $tests: configure and build"
	if ! { cmake --preset "$preset" -DKMS_WERROR=ON -DKMS_TESTS=ON &&
		cmake --build --preset "$preset" -j "$(nproc)"; } >"$log" 2>&1; then
		tail -n 60 "$log"
		add_row "$tests" 0 1 0 $((SECONDS - start)) "does not build, see build/check/$tests.log"
		failed=$((failed + 1))
		return
	fi
	echo "== $tests: test"
	# shellcheck disable=SC2046 # words on purpose
	$(randomisation) ctest --preset "$tests" --output-junit "$junit" </dev/null 2>&1 | tee -a "$log"
	local status=${PIPESTATUS[0]}
	local ok bad skip
	mapfile -t ok < <(names_of "$junit" run)
	mapfile -t bad < <(names_of "$junit" fail)
	mapfile -t skip < <(names_of "$junit" skip)
	if [ "$status" -ne 0 ] && [ ${#bad[@]} -eq 0 ]; then
		bad=("ctest itself ($status), see build/check/$tests.log")
	fi
	passed=$((passed + ${#ok[@]}))
	failed=$((failed + ${#bad[@]}))
	skipped=$((skipped + ${#skip[@]}))
	add_row "$tests" ${#ok[@]} ${#bad[@]} ${#skip[@]} $((SECONDS - start)) \
		"${bad[*]:+failed: ${bad[*]} }${skip[*]:+skipped: ${skip[*]}}"
}

mkdir -p "$results" || exit 1
rm -f "$results/totals"
for stage in "$@"; do
	run_stage "$stage"
done
echo "$passed $failed $skipped" >"$results/totals"
printf '\n%-10s %6s %6s %6s %6s\n' stage passed failed skipped time
printf '%s\n' "${rows[@]}"
printf '%-10s %6s %6s %6s %6ss\n' all "$passed" "$failed" "$skipped" "$SECONDS"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
