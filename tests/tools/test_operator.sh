#!/usr/bin/env bash
# test_operator.sh PROGRAM MODULES: the commands that ask a pool, with a pool, without
# one, and as somebody whom it does not concern.
# shellcheck disable=SC2317 # some functions are called by name
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit
chmod 755 .
export MULTICORE_SOCKET=$work/socket

# exactly TEXT ARGUMENT...: what it prints, to the byte.
exactly() {
    local text=$1
    shift
    timeout 30 "$program" "$@" >said 2>errors || fail "multicore $*: $(<errors)"
    [[ $(<said) == "$text" ]] || fail "multicore $*: not '$text' but '$(<said)'"
}

# valid FILE: it is JSON.
valid() { /usr/bin/env python3 -m json.tool "$1" >/dev/null 2>&1; }

cat >pool.conf <<EOF
socket = "$work/socket"
socket-mode = 0666
workers = 2
module "work" { path = "$modules/work.so" }
EOF

# ---- The command line ---------------------------------------------------------
expect 2 "takes no argument, but got 'now'" reload now
expect 2 "did you mean '--no-wait'?" reload --nowait
expect 2 "--timeout is '10': it wants a number of ms, s, m, h or d" drain --timeout 10
expect 2 "at most 1d" drain --timeout 2d
expect 2 "wants one worker's process id, or 'all'" stack
expect 2 "PID is 'some'" stack some
expect 2 "PID is '0'" stack 0
expect 2 "'lost' is neither 'list' nor 'show'" quarantine lost
expect 2 'show wants the number' quarantine show
expect 2 'show wants the number' quarantine show first
expect 2 "'more' is one too many" quarantine list more
expect 2 'the name of a handler' run
expect 2 'quote it, and put options first' run echo --items 3
expect 2 "--items is '0': it wants a number from 1" run --items 0 echo
expect 2 "--format is 'xml': it wants raw, json or msgpack" run --format xml echo
expect 2 'the argument cannot be used' run --format json echo '{"a":'
expect 2 '--concurrency goes with --repeat' run --concurrency 2 echo
expect 2 'one file at most' doctor a b

# ---- Without a pool -----------------------------------------------------------
for command in reload drain 'stack all' quarantine; do
    # shellcheck disable=SC2086 # words
    expect 4 "no pool listens at $work/socket" $command
done
expect 4 "$work/socket" run echo x
expect 4 'no pool listens at nowhere' reload --socket nowhere
expect 0 'ok ' doctor
expect 0 'workers' doctor pool.conf
expect 3 'nowhere.conf: the file cannot be read' doctor nowhere.conf
"$program" doctor --json >found.json || fail "doctor --json: $(<found.json)"
valid found.json || fail "doctor --json is no JSON: $(<found.json)"
(ulimit -n 600 && "$program" doctor >said) || fail "doctor with 600 descriptors"
grep -q '^warning *descriptors .*LimitNOFILE=' said || fail "600 descriptors are enough: $(<said)"

# ---- run ----------------------------------------------------------------------
start pool.conf
exactly 'hello' run echo hello
exactly 'from standard input' run echo - <<<'from standard input'
exactly '' run echo
exactly $'{\n  "map": true,\n  "count": 2\n}' run -f json describe '{"a": 1, "b": [2.5, null]}'
exactly $'{\n  "map": true,\n  "count": 2\n}' run -f msgpack describe '{"a": 1, "b": [2.5, "é"]}'
exactly $'{\n  "a": [\n    true,\n    {}\n  ]\n}' run -f json nested '[]'
exactly $'{\n  "a": [\n    true,\n    {}\n  ]\n}' run -f msgpack nested '[]'
expect 0 ' items' run --items 20 range
[[ $(awk '{count += $4} END {print count}' said) == 20 ]] || fail "the parts of 20: $(<said)"
expect 0 ': {"map":true,"count":1}' run --items 4 -f json describe '{"a": 1}'
expect 1 "handler 'fail' failed with status -5: the disk is full of holes" run fail
expect 1 ' to ' run --items 4 fail
expect 1 "no handler 'nothing'; the pool has: echo" run nothing
expect 1 "handler 'hang' has not ended within 100 ms; it is cancelled" run --timeout 100ms hang
expect 0 '300 runs in ' run --repeat 300 --concurrency 4 echo x
says '99% within'
expect 1 '5 runs failed, the first of them: the disk' run --repeat 5 fail
expect 1 "no handler 'nothing'" run --repeat 5 nothing
expect 1 'have ended within 200 ms' run --repeat 5 --timeout 200ms hang
expect 1 'have ended within 300 ms' run --repeat 10000000 --concurrency 4 --timeout 300ms echo x

# A signal is heard whenever it comes: while there is always something to do, and before
# the task is there.
catches() { # PID: SIGTERM, and it is the program already
    [[ $(<"/proc/$1/comm") == multicore ]] &&
        ((0x$(sed -n 's/^SigCgt:\s*//p' "/proc/$1/status") & 1 << 14))
}
"$program" run --repeat 10000000 --concurrency 4 echo x >said 2>&1 &
loading=$!
soon catches "$loading"
sleep 0.3
kill -TERM "$loading"
wait "$loading"
[[ $? == 1 ]] || fail "a load that was interrupted: $(<said)"
says 'interrupted after'
kill -STOP "$server"
"$program" run --timeout 8s hang >said 2>&1 &
hanging=$!
soon catches "$hanging"
kill -TERM "$hanging"
kill -CONT "$server"
wait "$hanging"
[[ $? == 1 ]] || fail "a run that was interrupted: $(<said)"
says "interrupted; handler 'hang' is cancelled"

# ---- quarantine ---------------------------------------------------------------
expect 0 'no task has killed its workers' quarantine
expect 1 'there is no task 0 in quarantine: there have been 0' quarantine show 0
expect 1 'there is no task 18446744073709551615' quarantine show 18446744073709551615
expect 1 'signal 9' run crash $'some\001bytes'
expect 1 'signal 9' run -f json crash '{"page": 7}'
expect 1 'signal 9' run -f msgpack crash '["seven"]'
head -c 3000 /dev/zero | expect 1 'signal 9' run crash -
expect 1 'signal 9' run -f json crash $'"\302\233\177"'
{
    printf '"\302\2332J'
    head -c 3000 /dev/zero | tr '\0' a
    printf '"'
} | expect 1 'signal 9' run -f json crash -
expect 1 'signal 9' run $'na\xefve'
expect 0 'crash' quarantine
[[ $(wc -l <said) == 8 ]] || fail "seven tasks in quarantine: $(<said)"
expect 0 '  na?ve  ' quarantine
expect 0 '"handler": "na?ve"' quarantine --json
expect 0 '00000000  73 6f 6d 65 01 62 79 74  65 73                    |some.bytes|' quarantine show 0
says 'death      signal 9'
expect 0 '  "page": 7' quarantine show 1
expect 0 '  "seven"' quarantine show 2
expect 0 '... and 1976 bytes more, which the pool has not kept' quarantine show 3
expect 0 '"\u009B\u007f"' quarantine show 4
expect 0 '"\xc2\x9b2Jaaa' quarantine show 5
expect 1 'there have been 7' quarantine show 7
for arguments in '' 'show 1' 'show 3' 'show 4' 'show 5' 'show 6'; do
    # shellcheck disable=SC2086 # words
    "$program" quarantine --json $arguments >list.json || fail "quarantine --json $arguments"
    valid list.json || fail "quarantine --json $arguments is no JSON: $(<list.json)"
done

# ---- stack, also when all workers are stuck -----------------------------------
running() { "$program" stack all >said 2>&1 && grep -q "$1" said; }
expect 0 ': idle' stack all
expect 1 'the pool has no worker 1; it has' stack 1
"$program" run --timeout 8s hang 2>/dev/null &
hanging=$!
"$program" run --timeout 8s deaf 2>/dev/null &
deaf=$!
soon running "runs 'hang'"
soon running "runs 'deaf'"
says 'turn_in_circles+0x'
says '(work.so)'
says 'does not say where it is; the kernel does: state '
says 'blocks SIGURG'
worker=$(sed -n "s/^worker \([0-9]*\) .*runs 'hang'.*/\1/p" said)
expect 0 'turn_in_circles' stack "$worker"
! grep -q deaf said || fail "one worker was asked for: $(<said)"
"$program" stack --json all >stack.json || fail "stack --json"
valid stack.json || fail "stack --json is no JSON: $(<stack.json)"
kill "$hanging" "$deaf"
wait "$hanging" "$deaf"
# Their tasks see that nobody waits any more.
idle() { "$program" stack all >said 2>&1 && [[ $(grep -c ': idle' said) == 2 ]]; }
soon idle

# ---- reload -------------------------------------------------------------------
expect 0 'reloaded: the new set-up is in use after' reload
"$program" reload >/dev/full && fail "reload: a full disk is no failure"
echo 'wrokers = 3' >>pool.conf
expect 1 'the configuration stays as it was: pool.conf has 1 mistake' reload
sed -i '/^wrokers/d; s/work[.]so/refuse.so/' pool.conf
expect 1 "no setting 'font'" reload
sed -i 's/refuse[.]so/work.so/' pool.conf
expect 0 '' reload --no-wait
soon grep -q 'reloaded pool.conf' log

# ---- serve --refork-after -----------------------------------------------------
expect 2 "--refork-after is '-1', which is no number; give a number from 1 to 1000000000, or 'never'" \
    serve --refork-after -1 pool.conf
expect 2 "--refork-after is '1000000001', which is too much" serve -r 1000000001 pool.conf
expect 2 "--refork-after is '0', which is too little" serve -r 0 pool.conf
expect 0 'the pool ended after' drain
gone
start --refork-after 40 pool.conf
work_on() { # clients run tasks all the while, and none fails
    "$program" run --repeat 200 --concurrency 4 before >said 2>&1 || fail "before: $(<said)"
    grep -q "$1" log
}
soon work_on 'all workers are forks of what worker'
warm() { # the zygotes of the server, by age
    [[ $(pgrep -cP "$server" -x mc-zygote) == 1 ]]
}
soon warm
for worker in $(pgrep -P "$server" mc-worker/); do
    kill -KILL "$worker"
done
for ((i = 0; i < 4; i++)); do
    "$program" run before >said 2>&1 || fail "before: $(<said)"
    (($(<said) >= 40)) || fail "a worker began with $(<said) tasks behind it"
done
# A new set-up begins without, and gets there too.
: >log
expect 0 'reloaded: the new set-up is in use after' reload
soon work_on 'all workers are forks of what worker'
! grep -q 'no warm zygote' log || fail "a try failed: $(<log)"

# ---- Somebody else ------------------------------------------------------------
# As root all may be asked for; the program is copied to where everybody may run it.
if ((EUID == 0)) && command -v setpriv >/dev/null; then
    cp "$program" ./multicore
    nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    for command in reload drain 'stack all' quarantine; do
        status=0
        # shellcheck disable=SC2086 # words
        nobody ./multicore $command >said 2>&1 || status=$?
        [[ $status == 4 ]] || fail "$command as nobody: $status, $(<said)"
        says "only root and the pool's own user may do that"
    done
    [[ $(nobody ./multicore run echo hello) == hello ]] || fail "nobody may attach, and cannot run"
fi

# ---- drain --------------------------------------------------------------------
expect 0 'the pool ended after' drain
gone
start pool.conf
"$program" run deaf 2>/dev/null &
deaf=$!
soon running "runs 'deaf'"
expect 0 '' drain --no-wait --timeout 1m
expect 4 "$work/socket" run echo x
expect 4 'the pool is closing' reload
expect 0 "runs 'deaf'" stack all # what keeps it
expect 0 'the pool ended after' drain --timeout 100ms # more haste
gone
expect 4 "no pool listens" stack all
start pool.conf
"$program" drain >/dev/full && fail "drain: a full disk is no failure"
gone
wait "$deaf" && fail "a task that was killed has status 0"

exit "$failed"
