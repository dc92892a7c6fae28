#!/usr/bin/env bash
# confined.sh PERCENT MIB COMMAND...: runs the command with so much of one core, and so much
# memory, in a cgroup of its own, version 1 or 2. Ends with 77, and a reason, where none can
# be made here.
set -uo pipefail

percent=$1 bytes=$(($2 * 1024 * 1024))
shift 2
readonly period=100000 name=multicore-coldstart.$$
groups=()

remove() {
    local group i
    for group in "${groups[@]}"; do
        for ((i = 0; i < 50; i++)); do # its last process may be on its way out
            rmdir "$group" 2>/dev/null && break
            sleep 0.02
        done
    done
}
trap remove EXIT

skip() {
    echo "skipped: $*" >&2
    exit 77
}

# parent CONTROLLER: the directory of the group that we are in; of version 2 for "".
parent() {
    local mount path
    path=$(awk -F: -v wanted="$1" '$2 == wanted {print $3}' /proc/self/cgroup)
    if [[ -n $1 ]]; then
        mount=$(awk -v wanted="$1" '$3 == "cgroup" && $4 ~ "(^|,)" wanted "(,|$)" {print $2; exit}' /proc/mounts)
    else
        mount=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
    fi
    [[ -n $mount ]] || return
    if [[ -d $mount$path ]]; then echo "$mount$path"; else echo "$mount"; fi
}

make() {
    mkdir "$1" 2>/dev/null || return
    groups+=("$1")
}

# put FILE VALUE
put() { { echo "$2" >"$1"; } 2>/dev/null; }

version_1() {
    local cpu memory
    cpu=$(parent cpu) && memory=$(parent memory) || return
    make "$cpu/$name" && make "$memory/$name" || return
    put "$cpu/$name/cpu.cfs_period_us" $period &&
        put "$cpu/$name/cpu.cfs_quota_us" $((period * percent / 100)) &&
        put "$memory/$name/memory.limit_in_bytes" "$bytes"
}

version_2() {
    local above
    above=$(parent '') || return
    put "$above/cgroup.subtree_control" '+cpu +memory'
    make "$above/$name" || return
    put "$above/$name/cpu.max" "$((period * percent / 100)) $period" &&
        put "$above/$name/memory.max" "$bytes"
}

if ! version_1; then
    remove
    groups=()
    version_2 || skip "no cgroup with limits of CPU and memory can be made here"
fi
(
    for group in "${groups[@]}"; do
        put "$group/cgroup.procs" "$BASHPID" || exit 77
    done
    exec "$@"
)
