#!/usr/bin/env bash
# test_scripts.sh SCRIPTS PROGRAM: bpftrace accepts the scripts, and where it may
# trace, they count exactly the tasks that PROGRAM has its workers run.
set -euo pipefail

scripts=$1 program=$2
tasks=200
work=$(mktemp -d)
tracer=
trap '[[ -z $tracer ]] || kill -TERM "$tracer" 2>/dev/null; rm -rf "$work"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "SKIPPED: $*"; exit 77; }

command -v bpftrace >/dev/null || skip "there is no bpftrace; ./dev deps trace installs it"
((EUID == 0)) || skip "bpftrace wants to be root"
timeout 30 bpftrace -e 'BEGIN { exit(); }' >"$work/try" 2>&1 ||
    skip "bpftrace may not trace here: $(<"$work/try")"

# trace SCRIPT SECONDS: what the script says of one run of the program, which begins
# so long after it; nothing tells when all probes are attached.
trace() {
    timeout 60 bpftrace "$scripts/$1.bt" >"$work/output" 2>"$work/errors" &
    tracer=$!
    sleep "$2"
    "$program" "$tasks"
    sleep 1.5 # for the next line
    kill -INT "$tracer" # timeout passes it on
    wait "$tracer" || fail "$1: $(<"$work/errors")"
    tracer=
}

# What the histogram NAME[traced] adds up to.
histogram() {
    awk -v title="@$1[traced]: " '
        /^@/ {inside = $0 == title || $0 " " == title}
        inside && /^[[(]/ {sub(/.*[])] */, ""); sum += $1}
        END {print sum + 0}' "$work/output"
}

latency_is_right() { (($(histogram wait_us) == tasks && $(histogram run_us) == tasks)); }

# Of all lines: submitted, claimed, done, failed, groups in parallel, of each worker.
tasks_are_right() {
    local found
    found=$(awk '
        /^[0-9:]+ / {submitted += $2; claimed += $3; ended += $4; failed += $5; parallel += $10}
        /^@tasks_of_worker/ {run += $NF}
        END {print submitted, claimed, ended, failed, parallel, run}' "$work/output")
    [[ $found == "$tasks $tasks $tasks $((tasks / 10)) 1 $tasks" ]]
}

# attempt SCRIPT CHECK
attempt() {
    local seconds
    for seconds in 2 4 8 16; do
        trace "$1" "$seconds"
        if "$2"; then
            echo "$1: all $tasks tasks"
            return
        fi
    done
    fail "$1 did not see $tasks tasks; it said: $(<"$work/output") $(<"$work/errors")"
}

attempt multicore-latency latency_is_right
attempt multicore-tasks tasks_are_right
