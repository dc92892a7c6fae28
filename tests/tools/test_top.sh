#!/usr/bin/env bash
# test_top.sh PROGRAM MODULES SOURCE: multicore top as text, beside a server that comes
# and goes; and its command line.
# shellcheck disable=SC2317 # some functions are called by name
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit

# shows TEXT: the last block of what top has printed.
shows() { tac out | sed '/^[0-9-]* [0-9:]*$/q' | grep -qF -- "$1"; }

# ---- The command line ---------------------------------------------------------
expect 2 "a delay of '0.05' is not possible: from 0.1 to 3600 seconds" top -d 0.05
expect 2 "a delay of '61m' is not possible" top --delay 61m
expect 2 "'soon' is no delay: give seconds, or a duration such as 500ms" top -d soon
expect 2 "'-5' is no delay" top -d -5
expect 2 "'0' is no number of updates: give 1 or more" top -n 0
expect 2 "'1x' is no number of updates" top --count 1x
expect 2 "'pool' is too much: top takes options only" top pool
expect 2 "did you mean '--plain'?" top --plian
expect 0 '--no-color' top --help
expect 4 'no pool listens at nowhere' top --socket nowhere
MULTICORE_SOCKET=elsewhere expect 4 'no pool listens at elsewhere' top

# ---- Text, while the pool is there, gone, and there again ---------------------
printf 'socket = "socket"\nworkers = 1\nmodule "%s/good.so" { }\n' "$modules" >pool.conf
start pool.conf
expect 0 'workers 1/1, 0 busy' top -s socket -n 1 -d 0.1
[[ $(grep -c '^pool socket' said) == 1 ]] || fail "not one block: $(<said)"
grep -q '^Handlers: 1$' said || fail "no handler: $(<said)"
grep -q ' good-echo$' said || fail "no name of the handler: $(<said)"
if grep -q $'\033' said; then fail "text with escape sequences: $(<said)"; fi
MULTICORE_SOCKET=socket expect 0 'pool socket' top --plain --count 2 --delay 100ms
[[ $(grep -c '^pool socket' said) == 2 ]] || fail "not two blocks: $(<said)"

# One that was stopped for a while goes on at its pace.
: >out
"$program" top -s socket -d 0.2 -n 8 >out 2>&1 &
top=$!
soon grep -q '^Handlers: 1$' out
kill -STOP "$top"
sleep 2
began=${EPOCHREALTIME/[.,]/}
kill -CONT "$top"
wait "$top" || fail "top that was stopped for a while: $?"
[[ $(grep -c '^Handlers: 1$' out) == 8 ]] || fail "not eight blocks: $(<out)"
((${EPOCHREALTIME/[.,]/} - began > 700000)) || fail "blocks that were missed come at once"

: >out
"$program" top -s socket -d 0.1 -n 600 >out 2>&1 &
top=$!
soon shows 'workers 1/1'
kill -KILL "$server"
wait "$server" 2>/dev/null
soon shows 'no pool listens at socket'
shows 'Looked for again every 0.1 s' || fail "it does not say that it goes on: $(tail -n 5 out)"
start pool.conf
soon shows 'workers 1/1'
kill "$top"
wait "$top" 2>/dev/null
stop

exit "$failed"
