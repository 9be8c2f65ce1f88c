#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the views print, of a file and of a live session; which source is taken; run's lines and summary.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

# text of a file
shows '1. 46.9 KiB in 1,000 blocks of malloc-48, score 97' leaks run.kms
shows '#1  leak_one (leaky.c:12) [inlined]' leaks run.kms
shows 'still live when the program ended; no block from here was ever freed' leaks
shows '5 leak suspects: 105.5 KiB in 2,249 blocks; 1 other site holds 9.4 KiB (incomplete: events are missing)' leaks
shows '3 more: --limit N shows them' leaks --limit 2
shows 'score 57, suppressed' leaks --all
shows 'BUG: use_after_free in consume (uaf.c:31): read 16 bytes inside a freed block of 60 bytes' faults
shows '120. 60 bytes, thread 4250' faults --id 3
shows 'a use after free is caught for 1,204 frees (1.5 s)' guard
shows '8,999,958 stored, 42 lost' stats
shows 'exited, signal 9' targets
shows 'make_node (uaf.c:10)' sites
shows 'python3.11+0x2010' stacks 15
shows '0x7f3c00040040    41  malloc-48' events --kind free --limit 3
run events --format csv --order desc --limit 3
cut -d, -f1 out | tail -n +2 >seqs
[ "$(wc -l <seqs)" = 3 ] || fail "events --order desc: $(cat out)"
sort -rnu seqs | cmp -s - seqs || fail "events --order desc is not: $(cat seqs)"
grep -q '42 events are lost' <("$CLI" leaks 2>&1 >/dev/null) || fail "lost events are not mentioned"
shows '0x7f3c00040045 is 5 bytes into a live block of 41 bytes' whatis 7f3c00040045
shows '0x7f3c00040045 is 5 bytes into a freed block in the guard FIFO' whatis 0x7f3c00040045
shows 'drop_node (uaf.c:20)' whatis --target 2 0x7f3c00040045 run.kms
shows '0x1: no block was seen there' whatis 1
shows '0x7f3c00040080 had 40 owners, newest first' history 7f3c00040081
shows '37 more: --limit N shows them' history --limit 3 7f3c00040081
shows '+504 B in -18 blocks from start (1.0 s) to now' diff 1 now
shows 'from the begin to start (3.0 s)' diff begin start
shows '+504 B in -18 blocks from start (1.0 s) to now' diff 1
shows '+504 B in -18 blocks from start (1.0 s) to now' diff 1 run.kms
run caches
grep -Eq '^malloc-48 +48 +3009 ' out || fail "caches: sums over the targets"
run caches --target 2
grep -Eq '^malloc-48 +48 +1003 ' out || fail "caches --target: one target"

# --json is the API's body, unchanged
for view in leaks faults caches guard stats targets sites; do
	run "$view" --json run.kms
	API_TOOL_FINISHED=1 "$TEST/api_tool" get GET "/api/v1/$view" >expected 2>/dev/null
	cmp -s out expected || fail "$view --json is not the API's body"
	python3 -m json.tool out >/dev/null || fail "$view --json is no JSON"
done

for view in whatis:/api/v1/whatis/0x7f3c00040045:7f3c00040045 history:/api/v1/history/0x7f3c00040080:0x7f3c00040080 \
	diff:/api/v1/diff?a=1'&'b=2:1:2; do
	IFS=: read -r name target first second <<<"$view"
	run "$name" --json "$first" ${second:+"$second"} run.kms
	API_TOOL_FINISHED=1 "$TEST/api_tool" get GET "$target" >expected 2>/dev/null
	cmp -s out expected || fail "$name --json is not the API's body"
done

# pages of events in every format are the whole
run events --format csv --limit 2500
[ "$(wc -l <out)" = 2501 ] || fail "events csv: $(wc -l <out) lines"
run events --format ndjson --limit 100000
[ "$(wc -l <out)" = 2500 ] || fail "events ndjson: $(wc -l <out) lines"
[ "$(sort -u out | wc -l)" = 2500 ] || fail "events ndjson: lines come twice"

# sql: tab-separated, no header, escapes
run sql x run.kms
printf 'alloc\t4500036\t\nfree\t17\ta\\tb\\\\c\\nx\033[31m\n' >expected
cmp -s out expected || fail "sql: $(cat -A out)"
run sql --header x run.kms
[ "$(head -1 out)" = "$(printf 'kind\tn\tnote')" ] || fail "sql --header: $(head -1 out)"

# colours only on a terminal, and not against the user's will
run leaks
grep -q "$(printf '\033')" out && fail "colours in a file"
script -qec "'$CLI' leaks run.kms" /dev/null >tty.out 2>&1 </dev/null
grep -q "$(printf '\033\\[1;31m')" tty.out || fail "no colours on a terminal"
NO_COLOR=1 script -qec "'$CLI' leaks run.kms" /dev/null >tty.out 2>&1 </dev/null
grep -q "$(printf '\033')" tty.out && fail "colours in spite of NO_COLOR"
script -qec "'$CLI' leaks --no-color run.kms" /dev/null >tty.out 2>&1 </dev/null
grep -q "$(printf '\033')" tty.out && fail "colours in spite of --no-color"
script -qec "'$CLI' sql x run.kms" /dev/null >tty.out 2>&1 </dev/null
grep -q "$(printf '\033\\[31m')" tty.out && fail "sql: a field reaches the terminal raw"

# the source that is taken
echo fixture >older.kms
touch -d '2 hours ago' older.kms
echo nonsense >newest.kms
refused 1 'newest.kms is not a kmemscope trace' leaks
rm newest.kms
shows 'leak suspects' leaks
serve app.4242
shows '"finished":false' stats --json
shows '"finished":false' stats --json 4242
shows '"finished":false' stats --json app
echo 'a program, not a trace' >app # lies in the folder by the name of its session
shows '"finished":false' stats --json app
refused 1 'not a kmemscope trace' stats --json ./app
shows '"finished":false' stats --json app.4242
shows '"finished":false' stats --json "$XDG_RUNTIME_DIR/kmemscope/app.4242/api.sock"
shows '"finished":true' stats --json run.kms
refused 1 'did you mean app.4242?' stats app.424
shows 'mark 4, here, at ' mark here app.4242
shows '"name":"here"' mark --json here
shows 'app.4242' status
shows 'python3 app.py --port 8080' status
shows '"session":"app.4242"' status --json
mkdir -p "$XDG_RUNTIME_DIR/kmemscope/dead.1" # a session without a tracer
python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
	"$XDG_RUNTIME_DIR/kmemscope/dead.1/api.sock"
shows '"finished":false' stats --json
serve other.77
refused 1 '2 sessions are live; name one: app.4242, other.77' leaks
shows '"finished":false' stats --json other.77
run status
[ "$(wc -l <out)" = 3 ] || fail "status: $(cat out)"
run events --format ndjson --limit 2500 other.77
[ "$(wc -l <out)" = 2500 ] || fail "events of a session: $(wc -l <out) lines"
serve app.77
refused 1 '2 sessions are live by the name app; name one: app.4242, app.77' stats app
refused 1 '2 sessions are live by the name 77; name one: app.77, other.77' stats 77
unserve
unserve
unserve
for _ in $(seq 1000); do
	run status
	[ -s out ] || break
done
grep -q 'no live session' err || fail "sessions that ended are still listed: $(cat out)"

# run
shows 'arg -x' run -q -o run.kms -- ok 0 -x
printf 'output run.kms\nsetting kmem_guard_depth=512\nsetting kmem_on_full=0\nsetting a=1\nfirst_only 1\narg ok\n' >expected
run run -q -o run.kms --guard-depth 512 --set a=1 --on-full drop --follow-fork no -- ok
cmp -s out expected || fail "run passes on: $(cat out)"
! [ -s err ] || fail "run -q prints $(cat err)"
exits 3 run -q -o run.kms -- status 3
exits 139 run -q -o run.kms -- signal 11
exits 9 run -q -o run.kms --error-exitcode 9 -- status 3
run run -o run.kms -- status 3
for text in 'tracing pid 4242 into run.kms' 'API socket /run/none/api.sock' 'pid 4242 ended with status 3' \
	'8,999,958 stored, 42 lost' 'BUG: overflow in consume' '... 9 more' 'leak_one (leaky.c:12)' \
	'kmemscope leaks|faults|stats|caches|sql ... run.kms'; do
	grep -qF -- "$text" err || fail "run's summary has no \"$text\": $(cat err)"
done
[ "$(wc -l <err)" -le 40 ] || fail "run's summary is longer than a screen: $(wc -l <err) lines"
echo 'leak:^leak_one$' >known.supp
exits 9 run -q -o run.kms --error-exitcode 9 --leak-threshold 1 -- ok
run run -o run.kms --suppressions known.supp -- ok
grep -q 'suppressed: ' err || fail "run --suppressions: $(cat err)"
grep -q 'leak_one (leaky.c:12)' err && fail "run --suppressions shows what is suppressed"
shows ' suppressed: ' leaks --suppressions known.supp run.kms
shows ', suppressed  id ' leaks --all --limit 1000 --suppressions known.supp run.kms
run leaks --json --suppressions known.supp run.kms
jq -e '.suppressed == 2 and .suspects == 3 and
	([.items[] | select(.suspect and any(.stack[]; .function == "leak_one"))] == [])' out >/dev/null || fail "leaks --json --suppressions: $(head -c 300 out)"
exits 3 leaks --leak-threshold 1 run.kms
echo 'leak:*' >known.supp
exits 0 leaks --leak-threshold 1 --suppressions known.supp run.kms
run run --log log -o run.kms -- ok
! [ -s err ] || fail "run --log prints $(cat err)"
grep -q 'pid 4242 ended with status 0' log || fail "run --log: $(cat log)"
run run -o run.kms -- signal 11
grep -q 'was killed by signal 11 (Segmentation fault)' err || fail "run: signal in the summary"

# top: one frame as text, and its data, all of one moment
shows 'F1Help F2Opts F3Find' top --once run.kms
shows 'in effect 30208' top --once --view 4 run.kms
run top --json run.kms
jq -e '.same_moment and .stats.live_bytes > 0 and .guard.depth == 30208 and
	(.targets.items | length) == 3 and (.caches.items | length) == 9 and
	.leaks.suspects == 5 and .faults.total == 14 and
	([.targets, .stats, .caches, .guard, .leaks, .faults | .snapshot.seq] | unique | length) == 1' \
	out >/dev/null || fail "top --json: $(head -c 300 out)"
run stats --json run.kms
jq -c . out >stats.json
run top --json run.kms
jq -c .stats out | cmp -s - stats.json || fail "top --json: stats differ from stats --json"
run top --json --target 2 run.kms
jq -e '.stats.target == 2 and .guard.target == 2' out >/dev/null || fail "top --json --target"

# help and version
shows 'usage: kmemscope run' help run
shows '--guard-depth N' run --help
shows 'usage: kmemscope leaks' leaks --help
shows 'kmemscope 0.0.0-test' version
shows '"schema":1' version --json
shows 'kmemscope 0.0.0-test' --version
shows 'usage: kmemscope COMMAND' --help

finish
