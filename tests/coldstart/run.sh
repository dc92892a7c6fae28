#!/usr/bin/env bash
# run.sh PROGRAM GRAPH: the start, from nothing to the first answer, with a tenth of a core
# and 128 MiB; and its CPU time without such limits, which is the gate of CI.
#
# A subject is a function: it runs the command that it is given the beginning of, and fails
# when that is over its budget.
# shellcheck disable=SC2317 # subjects are called by name
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
program=$(realpath "$1") graph=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The limits. Time where the machine is slow by order; it varies with what else runs there.
readonly budget=3s
# CPU time of all processes, from the first to the last. It was 8 ms when this was written, on a
# machine where a fork takes 0.13 ms: three times that is the margin for other machines.
readonly cpu_budget=24ms

# ---- Subjects ---------------------------------------------------------------

# A pool with six modules that have next to nothing to do: what is ours of every start.
subject_pool() {
    local name
    for name in web db cache base lone island; do
        echo "module \"$name\" { path = \"$graph/$name.so\" }"
    done >"$work/pool.conf"
    "${prefix[@]}" "$program" warmup "$@" "$work/pool.conf"
}

readonly subjects=(pool)

# ---- Running them -----------------------------------------------------------

failed=0
for subject in "${subjects[@]}"; do
    status=0
    prefix=("$here/confined.sh" 10 128)
    echo "== $subject: a tenth of a core, 128 MiB, budget $budget"
    "subject_$subject" --budget "$budget" || status=$?
    ((status == 0 || status == 77)) || failed=1
    prefix=()
    echo "== $subject: without limits, CPU budget $cpu_budget"
    "subject_$subject" --cpu-budget "$cpu_budget" || failed=1
done
((failed == 0)) && echo "coldstart: within the budgets"
exit "$failed"
