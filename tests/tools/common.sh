# shellcheck shell=bash
# common.sh: what the scripts here have in common. It is sourced, with the arguments of
# the script: PROGRAM MODULES SOURCE. From then on the working directory is an empty one,
# which goes when the script ends, and so does every process that it has started.
# shellcheck disable=SC2034 # the scripts use them
set -uo pipefail

program=$(realpath "$1") modules=$(realpath "$2") source=$(realpath "$3")
work=$(mktemp -d)
server=
failed=0
finish() {
    local pid
    for pid in $(jobs -pr); do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap finish EXIT
cd "$work" || exit 1
unset NOTIFY_SOCKET WATCHDOG_USEC LISTEN_FDS LISTEN_PID JOURNAL_STREAM MULTICORE_SOCKET

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# expect STATUS TEXT ARGUMENT...: how the program ends, and what it says.
expect() {
    local status=0 wanted=$1 text=$2
    shift 2
    timeout 60 "$program" "$@" >said 2>&1 || status=$?
    [[ $status == "$wanted" ]] || fail "multicore $*: status $status instead of $wanted: $(<said)"
    says "$text" "multicore $*"
}

# says TEXT [WHO]: what was said last has it.
says() {
    [[ -z $1 ]] || grep -qF -- "$1" said || fail "${2+$2: }nothing of '$1' in: $(<said)"
}

# soon COMMAND...: until it succeeds, for 20 s at most.
soon() {
    local i
    for ((i = 0; i < 1000; i++)); do
        if "$@"; then return; fi
        sleep 0.02
    done
    fail "not even after 20 s: $*"
    [[ ! -e log ]] || cat log >&2
    return 1
}

# start [OPTION...] CONFIG: a server, whose process id is in $server. What it logs is in log.
start() {
    : >log
    "$program" serve "$@" >>log 2>&1 &
    server=$!
    soon grep -q 'ready, with' log || exit 1
}

# gone: the server has ended in good order.
gone() {
    local status=0
    wait "$server" || status=$?
    server=
    [[ $status == 0 ]] || fail "the server ended with $status: $(<log)"
}

# stop: has it end.
stop() {
    kill -TERM "$server"
    gone
}
