#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each mistake is one line that names the thing and the fix, and an exit status of its own.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

# commands and options
"$CLI" >out 2>err
[ $? = 2 ] || fail "without a command: status"
grep -q 'usage: kmemscope' err || fail "without a command: usage on stderr"
refused 2 'unknown command leeks; did you mean leaks?' leeks
refused 2 "unknown command frobnicate; \`kmemscope help\` lists them" frobnicate
refused 2 'kmemscope leaks: unknown option --jsn; did you mean --json?' leaks --jsn
refused 2 '--limit needs a number from 1 to 1000, not "0"' leaks --limit 0
refused 2 '--limit needs a value: --limit N' leaks --limit
refused 2 'does not take "b.kms"' leaks a.kms b.kms
refused 2 'needs an argument' sql
refused 2 'there is no command nope' help nope
refused 2 '"../stats" is no id' leaks --id ../stats
refused 2 '"x y" is no id' stacks 'x y'
refused 2 'one page of at most 1000' events --json --limit 2000
for name in report export replay doctor completion; do
	refused 2 "kmemscope $name: comes with version 0.2" "$name" --any thing
done

refused 2 '"xyz" is no address; addresses are hexadecimal' whatis xyz
refused 2 '"0x" is no address' history 0x
refused 2 'needs' whatis
refused 2 'needs' diff
refused 2 'does not take' diff 1 now run.kms more
refused 1 'there is no mark nothing; /api/v1/marks lists them' diff begin nothing
refused 1 'finished trace; marks can be set while it runs' mark here run.kms

# top: no terminal here
refused 2 "standard input and output must be a terminal; \`kmemscope top --once\`" top run.kms
refused 2 '--size needs WxH such as 140x45, not "80"' top --once --size 80
refused 2 'not "80x0"' top --once --size 80x0
refused 2 '--view needs a number from 1 to 6' top --view 7
refused 2 '--interval needs a number from 100 to 10000' top --interval 5
refused 2 '--glyphs must be one of ascii|block|braille' top --glyphs emoji
refused 1 'gone.kms: No such file' top --once gone.kms

# run: our own failures are 125
refused 125 'needs an argument' run
refused 125 'unknown option -z' run -z
refused 125 '--guard-depth needs a number from 0 to 16777216, not "-1"' run --guard-depth -1 -- ok
refused 125 'not "1000000000000"' run --guard-depth 1000000000000 -- ok
refused 125 '--on-full must be one of drop|wait' run --on-full later -- ok
refused 125 '--error-exitcode needs a number from 1 to 255' run --error-exitcode 0 -- ok
refused 125 'cannot write to --log /nowhere/x: No such file' run --log /nowhere/x -- ok
refused 125 "the daemon's port is that of" run --daemon --http 0 -- ok
refused 2 'attach takes one target' attach
refused 2 '--json is for --list' attach --json pid:1
refused 2 "'worker' is no target: write pid:N" attach worker
refused 2 "'pid:0' is no target" attach pid:0
refused 2 '--daemon takes the target as it is' attach --daemon -o x.kms pid:1
refused 1 'no daemon is running' attach --daemon pid:1
refused 2 'daemon: unknown option --any; --help lists them' daemon --any thing
refused 2 'daemon: does not take "worker"' daemon worker
refused 2 '--dir needs a value: --dir FOLDER' daemon --dir
refused 1 'daemon: folder for traces: No such file' daemon --dir nowhere
refused 125 'standard input and output must be a terminal' run --top -- ok
refused 125 'cannot read suppressions: No such file' run --suppressions nowhere -- ok
printf '# known\n\nleak:main\nrace:x\n' >wrong.supp
refused 125 'wrong.supp, line 4: "race" is no suppression; one is leak:PATTERN' run --suppressions wrong.supp -- ok
refused 1 'wrong.supp, line 4' leaks --suppressions wrong.supp
refused 1 'cannot read suppressions' leaks --suppressions .
run run -o run.kms -- missing
[ "$status" = 127 ] || fail "missing program: $status"
grep -qx 'kmemscope run: missing: no such program' err || fail "missing program: $(cat err)"

# sources
echo nonsense >notes.txt
mkdir folder.kms
refused 1 'notes.txt is not a kmemscope trace' leaks notes.txt
refused 1 'gone.kms: No such file' leaks gone.kms
refused 1 './gone: No such file' stats ./gone
refused 1 'folder.kms is a folder' faults folder.kms
refused 1 "no file and no live session is named gone; \`kmemscope status\` lists sessions" guard gone
refused 1 'no such table: bad' sql bad
refused 1 'notes.txt is not a kmemscope trace' sql 'SELECT 1' notes.txt
rm run.kms
refused 1 'no live session, and no *.kms file' leaks
echo fixture >run.kms
XDG_RUNTIME_DIR=/foreign refused 1 'belongs to another user' leaks
XDG_RUNTIME_DIR=/foreign refused 1 'belongs to another user' status
refused 1 'there is no fault 99' faults --id 99
refused 1 'no leak suspect has the id ab' leaks --id ab
refused 1 'the run has no target 9' leaks --target 9
refused 1 'parameter kind must be' events --kind bogus
refused 1 'built without the demo kernel' demo

# nothing hostile comes out of an error line
run "$(printf 'x\033]52;c;\007y')"
if grep -q "$(printf '[\033\007]')" err; then
	fail "an error line carries control characters"
fi

# statuses for findings and for what is missing
exits 0 leaks
exits 3 leaks --leak-threshold 1K
exits 0 leaks --leak-threshold 1M
exits 9 leaks --leak-threshold 1K --error-exitcode 9
exits 9 leaks --error-exitcode 9
exits 7 faults --error-exitcode 7
exits 0 faults
exits 5 stats --strict
exits 3 sql --fail-if-rows x
exits 0 sql --fail-if-rows none

# output that cannot be written
"$CLI" leaks >/dev/full 2>err
[ $? = 1 ] || fail "full disk: status"
grep -q 'cannot write the output: No space left' err || fail "full disk: $(cat err)"

finish
