#!/usr/bin/env bash
# test_top.sh PROGRAM MODULES SOURCE: multicore top as text, beside a server that comes
# and goes; and its command line.
# shellcheck disable=SC2317 # some functions are called by name, or by trap
set -uo pipefail

program=$1 modules=$2
work=$(mktemp -d)
server='' top=''
finish() {
    [[ -z $server ]] || kill -KILL "$server" 2>/dev/null
    [[ -z $top ]] || kill -KILL "$top" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
cd "$work" || exit 1
unset NOTIFY_SOCKET WATCHDOG_USEC LISTEN_FDS LISTEN_PID JOURNAL_STREAM MULTICORE_SOCKET
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# expect STATUS TEXT ARGUMENT...: how multicore top ends, and what it says.
expect() {
    local status=0 wanted=$1 text=$2
    shift 2
    timeout 20 "$program" top "$@" >said 2>&1 || status=$?
    [[ $status == "$wanted" ]] || fail "top $*: status $status instead of $wanted: $(<said)"
    grep -qF -- "$text" said || fail "top $*: nothing of '$text' in: $(<said)"
}

# soon COMMAND...: until it succeeds, for 10 s at most.
soon() {
    local i
    for ((i = 0; i < 500; i++)); do
        if "$@"; then return; fi
        sleep 0.02
    done
    fail "not even after 10 s: $*"
}

# says TEXT: the last block of what top has printed.
says() { tac out | sed '/^[0-9-]* [0-9:]*$/q' | grep -qF -- "$1"; }
ready() { grep -q 'ready, with' log; }

start() {
    : >log
    "$program" serve pool.conf >>log 2>&1 &
    server=$!
    soon ready
}

# ---- The command line ---------------------------------------------------------
expect 2 "a delay of '0.05' is not possible: from 0.1 to 3600 seconds" -d 0.05
expect 2 "a delay of '61m' is not possible" --delay 61m
expect 2 "'soon' is no delay: give seconds, or a duration such as 500ms" -d soon
expect 2 "'-5' is no delay" -d -5
expect 2 "'0' is no number of updates: give 1 or more" -n 0
expect 2 "'1x' is no number of updates" --count 1x
expect 2 "'pool' is too much: top takes options only" pool
expect 2 "did you mean '--plain'?" --plian
expect 0 '--no-color' --help
expect 4 'no pool listens at nowhere' --socket nowhere
MULTICORE_SOCKET=elsewhere expect 4 'no pool listens at elsewhere'

# ---- Text, while the pool is there, gone, and there again ---------------------
printf 'socket = "socket"\nworkers = 1\nmodule "%s/good.so" { }\n' "$modules" >pool.conf
start
expect 0 'workers 1/1, 0 busy' -s socket -n 1 -d 0.1
[[ $(grep -c '^pool socket' said) == 1 ]] || fail "not one block: $(<said)"
grep -q '^Handlers: 1$' said || fail "no handler: $(<said)"
grep -q ' good-echo$' said || fail "no name of the handler: $(<said)"
if grep -q $'\033' said; then fail "text with escape sequences: $(<said)"; fi
MULTICORE_SOCKET=socket expect 0 'pool socket' --plain --count 2 --delay 100ms
[[ $(grep -c '^pool socket' said) == 2 ]] || fail "not two blocks: $(<said)"

: >out
timeout 60 "$program" top -s socket -d 0.1 >out 2>&1 &
top=$!
soon says 'workers 1/1'
kill -KILL "$server"
wait "$server" 2>/dev/null
soon says 'no pool listens at socket'
says 'Looked for again every 0.1 s' || fail "it does not say that it goes on: $(tail -n 5 out)"
start
soon says 'workers 1/1'
kill "$top"
wait "$top" 2>/dev/null
top=
kill -TERM "$server"
wait "$server" || fail "the server ended with $?: $(<log)"
server=

exit "$failed"
