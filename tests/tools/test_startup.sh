#!/usr/bin/env bash
# test_startup.sh PROGRAM MODULES SOURCE GRAPH: profiles and budgets of the start.
# shellcheck disable=SC2317 # some functions are called by name
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit
graph=$(realpath "$4")

# value PROGRAM FILE: what jansson wrote, read by somebody else.
value() { /usr/bin/python3 -c "import json, sys; j = json.load(open(sys.argv[1])); print($1)" "$2"; }

{
    echo "socket = socket"
    for name in web db cache base lone; do
        echo "module \"$name\" { path = \"$graph/$name.so\"; delay-us = 20000 }"
    done
} >good.conf

# ---- warmup -------------------------------------------------------------------
expect 0 'every module had answered after' warmup good.conf
# The tree: what is required stands before and below.
order=$(sed -n 's/^startup: .*| \( *[a-z]*\)$/\1/p' said | tr '\n' ',')
[[ $order == 'module,    base,  db,  cache,web,lone,' ]] || fail "the tree is: $order"
expect 0 '"answered_ms"' warmup --json good.conf
[[ $(value 'sorted(j["tasks_ms"])' said) == "['base', 'cache', 'db', 'lone', 'web']" ]] ||
    fail "tasks: $(<said)"
[[ $(value '[m["requires"] for m in j["startup"]["modules"] if m["name"] == "web"][0]' said) == \
    "['db', 'cache']" ]] || fail "requirements: $(<said)"
expect 1 'are more than the budget of 1 ms; the most of it:' warmup --budget 1ms good.conf
(($(grep -c "ms  module '" said) == 3)) || fail "not three modules: $(<said)"
expect 1 'of CPU time are more than the budget of 1 ms' warmup --cpu-budget 1ms good.conf
expect 0 '' warmup --budget 60s --cpu-budget 60s --serial-load --trace trace.json good.conf
# One by one: nothing that loads begins before the one before it has ended.
value 'all(a["ts"] + a["dur"] <= b["ts"] for s in [sorted((e for e in j["traceEvents"] if e.get("cat") == "load"), key=lambda e: e["ts"])] for a, b in zip(s, s[1:]))' \
    trace.json | grep -qx True || fail "serial loads overlap: $(<trace.json)"
expect 1 'cannot be written' warmup --trace nowhere/trace.json good.conf
sed 's/name "lone" {/&/; s/\(lone.so".*\) }/\1; refuse = load }/' good.conf >refuse.conf
expect 1 "the pool did not start: module 'lone': load: told to refuse" warmup refuse.conf
expect 2 "--budget is 'soon'" warmup --budget soon good.conf
expect 2 "--budget is '0s': it wants 1ms or more" warmup --budget 0s good.conf
expect 2 "--cpu-budget is '0s': it wants 1ms or more" warmup --cpu-budget 0s good.conf
expect 3 'bad.conf' warmup bad.conf
[[ ! -e socket ]] || fail "warmup made the socket of the configuration"

# ---- lazy modules ---------------------------------------------------------------
sed 's/path = [^;]*lone.so";/& lazy = yes;/' good.conf >lazy.conf
expect 0 'every module had answered after' warmup lazy.conf
says '| lone (lazy)'
expect 0 '' warmup --json lazy.conf
[[ $(value '[m["name"] for m in j["startup"]["modules"] if m["lazy"]]' said) == "['lone']" ]] ||
    fail "lazy ones: $(<said)"
[[ $(value '[m["phases"].keys() - {"open"} for m in j["startup"]["modules"] if m["lazy"]]' said) == \
    '[set()]' ]] || fail "a lazy module was set up: $(<said)"
sed 's/lazy = yes;/& refuse = load;/' lazy.conf >refuse.conf
expect 1 "module 'lone': its warm-up task 'lone' failed with -1 (module 'lone': load: told to refuse)" \
    warmup refuse.conf
start lazy.conf
"$program" run --socket socket web >/dev/null || fail "a handler of another module"
! grep -q "module 'lone' was loaded" log || fail "it was loaded: $(<log)"
"$program" run --socket socket lone >/dev/null || fail "a handler of a lazy module"
soon grep -q "module 'lone' was loaded for its first task" log
stop

# ---- warmup that is interrupted -------------------------------------------------
mkdir tmp
sed 's/name "lone" {/&/; s/\(lone.so".*\) }/\1; hang = load }/' good.conf >hang.conf
there() { compgen -G 'tmp/*/socket' >/dev/null; }
begin_to_hang() {
    TMPDIR=tmp "$program" warmup hang.conf >said 2>&1 &
    warmup=$!
    soon there
}
begin_to_hang
kill -TERM "$warmup"
wait "$warmup"
[[ $? == 143 ]] || fail "it did not end by the signal: $(<said)"
[[ -z $(ls tmp) ]] || fail "a warmup that was ended left $(ls tmp)"
begin_to_hang
kill -KILL "$(pgrep -P "$warmup")"
wait "$warmup"
[[ $? == 1 ]] || fail "a warmup whose server was killed: $(<said)"
says 'the pool did not start: it was killed by signal 9 (Killed)'
[[ -z $(ls tmp) ]] || fail "a warmup whose server was killed left $(ls tmp)"
TMPDIR=nowhere expect 1 'no place for a socket in nowhere' warmup good.conf
TMPDIR=/$(printf 'x%.0s' {1..100}) expect 1 'is 30 bytes too long' warmup good.conf
"$program" warmup good.conf >/dev/full 2>&1 && fail "a full disk is no failure"

# ---- serve --startup-profile --------------------------------------------------
expect 2 '--startup-profile' serve --json good.conf
"$program" serve --startup-profile --json --startup-trace trace.json good.conf >profile 2>log &
server=$!
soon grep -q 'ready, with' log
[[ $(value 'len(j["modules"])' profile) == 5 ]] || fail "the profile: $(<profile) $(<log)"
[[ $(value 'sum(1 for e in j["traceEvents"] if e.get("cat") == "load")' trace.json) == 5 ]] ||
    fail "the trace: $(<trace.json)"
stop

((failed == 0)) && echo "startup: all is well"
exit "$failed"
