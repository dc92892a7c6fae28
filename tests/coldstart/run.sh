#!/usr/bin/env bash
# run.sh PROGRAM GRAPH WEB: the start, from nothing to the first answer, with a tenth of a core
# and 128 MiB; and its CPU time without such limits, which is the gate of CI.
#
# A subject is a function: it is given a budget, and runs a command with what is in $prefix
# before it. It fails when that takes more.
# shellcheck disable=SC2317 # subjects are called by name
set -uo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
program=$(realpath "$1") graph=$(realpath "$2") web=$(realpath "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The limits. Time where the machine is slow by order; it varies with what else runs there.
readonly budget=3s
# CPU time of all processes, from the first to the last: three times of what it was when this was
# written, on a machine where a fork takes 0.13 ms. That is the margin for other machines.
readonly -A cpu_budgets=([pool]=24ms [web]=105ms)

# ---- Subjects ---------------------------------------------------------------

# A pool with six modules that have next to nothing to do: what is ours of every start.
subject_pool() {
    local name
    for name in web db cache base lone island; do
        echo "module \"$name\" { path = \"$graph/$name.so\" }"
    done >"$work/pool.conf"
    "${prefix[@]}" "$program" warmup "$@" "$work/pool.conf"
}

# The web demo with its pool, to the first answer that a worker gave. What draws pages is not
# linked before somebody asks for the page that offers it: that would be as much again.
subject_web() {
    "$here/first_answer.py" "$@" "$work/socket" /posts/cpu/ \
        "${prefix[@]}" "$web" --mode pool
}

readonly subjects=(pool web)

# ---- Running them -----------------------------------------------------------

failed=0
for subject in "${subjects[@]}"; do
    status=0
    prefix=("$here/confined.sh" 10 128)
    echo "== $subject: a tenth of a core, 128 MiB, budget $budget"
    "subject_$subject" --budget "$budget" || status=$?
    ((status == 0 || status == 77)) || failed=1
    prefix=()
    echo "== $subject: without limits, CPU budget ${cpu_budgets[$subject]}"
    "subject_$subject" --cpu-budget "${cpu_budgets[$subject]}" || failed=1
done
((failed == 0)) && echo "coldstart: within the budgets"
exit "$failed"
