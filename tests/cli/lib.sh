# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
# What the command-line tests share: a folder of their own, checks that count, a served fixture.

TEST=${KMS_BUILD_DIR:?}/test
CLI=$TEST/cli_tool
work=$(mktemp -d)
servers=()
failed=0
checked=0

cleanup() {
	local fd
	for fd in "${servers[@]}"; do
		exec {fd}>&-
	done
	wait
	rm -rf "$work"
}
trap cleanup EXIT
cd "$work" || exit 1
export XDG_RUNTIME_DIR=$work/runtime TERM=xterm
unset NO_COLOR
mkdir -p "$XDG_RUNTIME_DIR/kmemscope"
echo fixture >run.kms

fail() {
	printf 'FAILED %s\n' "$*"
	failed=$((failed + 1))
}

# run ARGS: stdout and stderr into out and err, the status into $status
run() {
	"$CLI" "$@" >out 2>err </dev/null
	status=$?
	checked=$((checked + 1))
}

# refused STATUS TEXT ARGS: exit status, nothing on stdout, and one line on stderr that has the text
refused() {
	local expected=$1 text=$2
	shift 2
	run "$@"
	[ "$status" = "$expected" ] || fail "kmemscope $*: status $status, not $expected"
	[ "$(wc -l <err)" = 1 ] || fail "kmemscope $*: $(wc -l <err) lines on stderr: $(cat err)"
	grep -qF -- "$text" err || fail "kmemscope $*: \"$(cat err)\" has no \"$text\""
	! [ -s out ] || fail "kmemscope $*: printed $(head -c 200 out)"
}

# shows TEXT ARGS: status 0, and the text on stdout
shows() {
	local text=$1
	shift
	run "$@"
	[ "$status" = 0 ] || fail "kmemscope $*: status $status: $(cat err)"
	grep -qF -- "$text" out || fail "kmemscope $*: no \"$text\" in: $(head -c 400 out)"
}

# exits STATUS ARGS
exits() {
	local expected=$1
	shift
	run "$@"
	[ "$status" = "$expected" ] || fail "kmemscope $*: status $status, not $expected: $(cat err)"
}

# serve NAME: the live fixture as session NAME, until the end of the test or `unserve`
serve() {
	local fd line
	mkdir -p "$XDG_RUNTIME_DIR/kmemscope/$1"
	: >"$1.ready"
	exec {fd}> >("$TEST/api_tool" serve "$XDG_RUNTIME_DIR/kmemscope/$1/api.sock" >"$1.ready")
	servers+=("$fd")
	for _ in $(seq 1000); do
		read -r line <"$1.ready" && [ "$line" = ready ] && return
		read -rt 0.01 <> <(:) # wait a little for what is being waited for
	done
	fail "api_tool does not serve $1"
}

# unserve: ends the session that was served last
unserve() {
	local last=$((${#servers[@]} - 1)) fd
	fd=${servers[$last]}
	exec {fd}>&-
	unset "servers[$last]"
}

finish() {
	echo "$checked calls, $failed failures"
	[ "$failed" = 0 ] && [ "$checked" -gt 0 ]
	exit
}
