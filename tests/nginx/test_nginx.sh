#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# test_nginx.sh NGINX MODULE MULTICORE HANDLERS EXAMPLE - serves requests through nginx
# and the module, as the example's configurations say, while workers are killed, and the
# pool is reloaded, restarted and killed.
set -u

nginx=$1 module=$2 multicore=$3 handlers=$4 example=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d /tmp/multicore-nginx-XXXXXX) || exit 1
chmod 755 "$work" # workers of a root nginx are nobody
failures=0
pool_pid=

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# await SECONDS COMMAND...: until it succeeds.
await() {
    local until=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        (($(now_ms) < until)) || return 1
        sleep 0.02
    done
}

not() { ! "$@"; }
gone() { ! kill -0 "$1" 2>/dev/null; }

fail() {
    failures=$((failures + 1))
    echo "not ok - $*"
}

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then echo "ok - $name"; else fail "$name"; fi
}

master() { cat "$work/nginx.pid" 2>/dev/null; }

clean_up() {
    local pid
    mapfile -t jobs < <(jobs -p)
    ((${#jobs[@]})) && kill "${jobs[@]}" 2>/dev/null
    for pid in "$(master)" $pool_pid; do
        [[ -n $pid ]] && kill -TERM "$pid" 2>/dev/null && ! await 5 gone "$pid" &&
            kill -KILL "$pid" 2>/dev/null
    done
    if ((failures)); then
        tail -n 20 "$work/error.log" "$work/pool.log" 2>/dev/null | cut -c 1-300
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ---- the two servers --------------------------------------------------------

events() { grep -c " info: $1" "$work/pool.log"; }
happened() { (($(events "$1") >= $2)); } # EVENT TIMES

start_pool() {
    local before
    before=$(events ready)
    "$multicore" serve "$work/multicore.conf" >>"$work/pool.log" 2>&1 &
    pool_pid=$!
    disown
    await 10 happened ready $((before + 1)) || fail "the pool does not start"
}

end_pool() { # SIGNAL
    local pid=$pool_pid
    kill "-$1" "$pid"
    await 15 gone "$pid" || fail "the pool does not end"
    pool_pid=
}

# Of the supervisor, which is the one that was started, and its zygote.
workers() { pgrep -f "^$multicore serve $work/" | grep -vx "$pool_pid" | tail -n +2; }

free_port() {
    local port
    for port in $(shuf -i 20000-32000 -n 20); do
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    return 1
}

start_nginx() {
    "$nginx" -p "$work/" -c nginx.conf 2>"$work/nginx.start" ||
        { cat "$work/nginx.start"; fail "nginx does not start"; exit 1; }
    await 10 curl -s -o "$work/reply" "$url/hello" || fail "nginx does not answer"
}

descriptors() {
    local pid count=0 files
    for pid in $(pgrep -P "$(master)"); do
        files=("/proc/$pid/fd"/*)
        count=$((count + ${#files[@]}))
    done
    echo "$count"
}

# ---- asking -----------------------------------------------------------------

ask() { curl -s --max-time 20 "$@"; }
answers() { [[ $(ask "$url$1") == "$2" ]]; }                        # PATH BODY
status() { [[ $(ask -o "$work/reply" -w '%{http_code}' "${@:2}") == "$1" ]]; } # STATUS CURL-ARG...
logged() { grep -q "$1" "$work/error.log"; }

# load NAME SECONDS: requests for so long; all are answered, and right.
load() {
    wrk -t1 -c16 "-d${2}s" --timeout 10s -s "$here/requests.lua" "$url" >"$work/wrk" 2>&1
    local line
    line=$(grep '^answers' "$work/wrk") || { cat "$work/wrk"; fail "$1: wrk"; return; }
    if [[ $line == *' wrong 0 lost 0' && $line != 'answers 0 '* ]]; then
        echo "ok - $1: $line"
    else
        fail "$1: $line"
    fi
}

# disturbed NAME SECONDS FUNCTION: the same, while the function runs again and again.
disturbed() {
    local until=$(($(now_ms) + $2 * 1000 - 700)) rounds=0 loading
    load "$1" "$2" >"$work/verdict" &
    loading=$!
    sleep 0.3
    while (($(now_ms) < until)); do
        "$3"
        rounds=$((rounds + 1))
    done
    wait "$loading"
    cat "$work/verdict"
    grep -q '^not ok' "$work/verdict" && failures=$((failures + 1))
    echo "#   $rounds times"
}

# ---- what holds -------------------------------------------------------------

answers_are_right() {
    check "a map becomes status, header and body" answers "/hello?name=me" "hello, me"
    check "bytes become the body" answers "/sum?n=10" 55
    check "a handler's status" status 400 "$url/sum"
    ask -D "$work/head" -o "$work/reply" "$url/hello"
    check "a handler's header" grep -q '^X-Answered-By: hello' "$work/head"
    check "HEAD has no body" status 200 -I "$url/hello"
    local size
    for size in 0 1 4000 100000 1048576; do
        head -c "$size" /dev/urandom >"$work/sent"
        ask -o "$work/reply" --data-binary "@$work/sent" "$url/echo"
        check "a body of $size bytes" cmp -s "$work/sent" "$work/reply"
    done
}

# Of which one is empty.
subrequests_are_answered() {
    check "parts of a page" answers /page/ $'[10\n][]'
}

failures_have_their_status() {
    head -c 5000000 /dev/zero >"$work/sent"
    check "too large for the pool" status 413 --data-binary "@$work/sent" "$url/echo"
    check "over its time" status 504 "$url/hasty?ms=2000"
    check "its worker died" status 502 "$url/crash"
    check "that is in the log" logged "handler 'crash' ended with its worker"
    check "and not in the answer" not grep -q worker "$work/reply"
    check "a handler that is not there" status 500 "$url/missing"
    check "a handler that fails" status 500 "$url/slow?ms=never"
    check "a path that is not UTF-8" status 400 "$url/hello%ff"
}

leaving_clients_leak_nothing() {
    local before i clients=()
    ask -o "$work/reply" "$url/hello"
    before=$(descriptors)
    for i in {1..30}; do
        curl -s --max-time 0.1 "$url/slow?ms=300&$i" &
        clients+=("$!")
    done
    wait "${clients[@]}"
    check "clients that left leave no descriptor" await 5 same_descriptors "$before"
    check "nginx goes on" answers "/sum?n=3" 6
}
same_descriptors() { (($(descriptors) == $1)); }

kill_worker() {
    local pid
    pid=$(workers | shuf -n 1)
    [[ -n $pid ]] && kill -KILL "$pid" 2>/dev/null
    sleep 0.1
}

reload_pool() {
    local before
    before=$(events reloaded)
    kill -HUP "$pool_pid"
    await 10 happened reloaded $((before + 1)) || fail "no reload"
}

restart_pool() {
    end_pool TERM
    sleep 0.1
    start_pool
    sleep 0.3
}

kill_pool() {
    end_pool KILL
    sleep 0.1
    start_pool
    sleep 0.3
}

without_a_pool() {
    end_pool TERM
    check "no pool" status 503 "$url/impatient"
    ask -D "$work/head" -o "$work/reply" "$url/impatient"
    check "says when to come again" grep -q '^Retry-After: 1' "$work/head"
    (
        sleep 0.5
        exec "$multicore" serve "$work/multicore.conf" >>"$work/pool.log" 2>&1
    ) &
    pool_pid=$!
    check "a request waits for the pool" answers "/sum?n=4" 10
}

nobody_left() { not pgrep -f "^[^ ]*(nginx|multicore)[: ].*$work" >/dev/null; }

reloads_nginx() {
    local before
    before=$(pgrep -P "$(master)" | tr '\n' ' ')
    kill -HUP "$(master)"
    check "nginx has new workers" await 10 none_of "$before"
    check "which are attached" answers "/sum?n=5" 15
}
none_of() { # PIDS
    local pid
    for pid in $1; do gone "$pid" || return 1; done
}

ends_in_good_order() {
    local pid
    pid=$(master)
    ask -o "$work/reply" -w '%{http_code}' "$url/slow?ms=400" >"$work/last" &
    local asking=$!
    sleep 0.2
    kill -QUIT "$pid"
    wait "$asking"
    check "a quitting nginx answers what it has begun" grep -qx 200 "$work/last"
    check "nginx ends" await 10 gone "$pid"
    end_pool TERM
    check "no process is left" await 5 nobody_left
    check "no worker of nginx crashed" not logged '\[\(alert\|emerg\|crit\)\]'
}

port=$(free_port) || exit 1
url=http://127.0.0.1:$port
: >"$work/pool.log"
ln -s "$module" "$handlers" "$work/"
mkdir -p "$work/html/page"
printf '[<!--#include virtual="%s" -->]' '/sum?n=4' /echo >"$work/html/page/index.html"
sed -e "s/127.0.0.1:8080/127.0.0.1:$port/" -e 's|location /crash|location /page/ { ssi on; ssi_types *; }\n&|' \
    "$example/nginx.conf" >"$work/nginx.conf"
{ cat "$example/multicore.conf"; echo "workers = 2"; } >"$work/multicore.conf"
start_pool
start_nginx
answers_are_right
subrequests_are_answered
failures_have_their_status
leaving_clients_leak_nothing
load "in peace" 2
disturbed "while workers are killed" 4 kill_worker
disturbed "while the pool is reloaded" 4 reload_pool
disturbed "while the pool is restarted" 4 restart_pool
disturbed "while the pool's supervisor is killed" 4 kill_pool
leaving_clients_leak_nothing
without_a_pool
reloads_nginx
ends_in_good_order
echo "# $failures failures"
((failures == 0))
