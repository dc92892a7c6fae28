#!/usr/bin/env bash
# test_stats.sh PROGRAM MODULES SOURCE CLIENT: multicore stats, with a server that runs
# tasks of known durations. What it prints is read by parsers that others have written.
# shellcheck disable=SC2317 # some functions are called by name
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit
client=$(realpath "$4")
python=/usr/bin/python3
ln -s "$modules" modules
clients=()

# json EXPRESSION [ARGUMENT...]: of the parsed snapshot s; true, or a report of what it is.
# handler(NAME) is the handler of that name.
json() {
    local expression=$1
    shift
    timeout 20 "$program" stats -s socket --json "$@" >snapshot || return
    "$python" - "$expression" <<'PYTHON'
import json, sys
s = json.load(open("snapshot"))
def handler(name):
    return next(each for each in s["handlers"] if each["name"] == name)
sys.exit(0 if eval("(" + sys.argv[1] + ")") else 1)
PYTHON
}

expect_json() { json "$@" || fail "not so: $1: $(<snapshot)"; }

# metric NAME LABELS FILE: prints its value; the whole file is checked by the reference
# parser of OpenMetrics.
metric() {
    "$python" - "$@" <<'PYTHON'
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
name, labels, file = sys.argv[1:]
labels = dict(pair.split("=", 1) for pair in labels.split(",") if pair)
for family in text_string_to_metric_families(open(file).read()):
    assert family.documentation, family.name
    for sample in family.samples:
        if sample.name == name and sample.labels == labels:
            print(int(sample.value) if sample.value == int(sample.value) else sample.value)
PYTHON
}

# expect_metric VALUE NAME LABELS FILE
expect_metric() {
    local value
    value=$(metric "${@:2}") || fail "$4 cannot be parsed: $(<"$4")"
    [[ $value == "$1" ]] || fail "$2{$3} is '$value' instead of $1"
}

# ---- The command line ----------------------------------------------------------
expect 4 'no pool listens at' stats -s socket
expect 2 'exclude each other' stats --json --prometheus
expect 2 "--interval is '3'; write a duration" stats --interval 3
expect 2 "--interval is '0s'; write a duration" stats --interval 0s
expect 2 'takes options only' stats socket
expect 2 "did you mean '--json'" stats --jsn
expect 2 'neither --json nor' stats --listen ./metrics --json
expect 1 'write HOST:PORT' stats --listen 9464
expect 1 'write HOST:PORT' stats --listen localhost:
expect 1 'set --listen to another path' stats --listen ./no/such/metrics
expect 1 'the path of a socket has at most 107' stats --listen "/$(printf 'x%.0s' {1..120})"

# ---- Tasks of known durations --------------------------------------------------
cat >conf <<'CONF'
socket = "socket"
socket-mode = 0666
workers = 2
close-timeout = 20s
module "doze" { path = "modules/doze.so" }
CONF
start conf
expect_json 's["pool"]["phase"] == "open" and s["pool"]["seats_up"] == 2 and s["clients"] == []'
expect_json 's["interval_seconds"] is None and handler("doze")["per_second"] is None'
expect_json 'all(each["state"] in ("idle", "looking") and each["resident_bytes"] > 0
    and each["handler"] is None for each in s["workers"])'

[[ $("$client" socket doze 20 20 </dev/null) == '0 failed' ]] || fail "tasks failed"
[[ $("$client" socket 'bad "doze"' 3 1 </dev/null) == '3 failed' ]] || fail "tasks did not fail"
expect_json 'handler("doze")["ended"] == 20 and handler("doze")["failed"] == 0
    and handler("doze")["isolated"] and not handler("doze")["idempotent"]'
expect_json 'handler("bad \"doze\"")["ended"] == 3 and handler("bad \"doze\"")["failed"] == 3'
# Percentiles err upwards, by a fifth; a machine that is busy adds its own.
expect_json '0.02 <= handler("doze")["run_p50_seconds"] < 0.1'
expect_json '0 < handler("doze")["wait_p50_seconds"] < 2'
expect_json 's["tasks"]["ended"] == 23 == sum(each["tasks"] for each in s["workers"])'
expect_json '0.4 <= sum(each["busy_seconds"] for each in s["workers"]) < 5'
expect_json 's["totals"]["clients_attached"] == 2 and s["totals"]["workers_started"] == 2'
expect_json 'not s["admission"]["busy"] and "max_load_average is not set" in s["admission"]["reason"]'

# What ended before the interval does not count in it.
expect_json '0.1 < s["interval_seconds"] < 10 and handler("doze")["per_second"] == 0
    and handler("doze")["run_p50_seconds"] == 0' --interval 100ms
expect_json 's["workers"][0]["load"] is not None' --interval 10ms

expect 0 'admission: max_load_average is not set' stats -s socket
grep -q '^ *20 *0 .* doze$' said || fail "no line for the handler: $(<said)"
MULTICORE_SOCKET=socket expect 0 'pool at socket: open' stats

"$program" stats -s socket --prometheus >metrics || fail "--prometheus"
expect_metric 1 multicore_up '' metrics
expect_metric 20 multicore_tasks_total handler=doze metrics
expect_metric 3 multicore_task_failures_total 'handler=bad "doze"' metrics
expect_metric 0 multicore_task_run_seconds_bucket handler=doze,le=0.01 metrics
expect_metric 20 multicore_task_run_seconds_count handler=doze metrics
expect_metric 20 multicore_task_run_seconds_bucket handler=doze,le=+Inf metrics
expect_metric 2 multicore_seats '' metrics
expect_metric 2 multicore_clients_attached_total '' metrics

# ---- While all workers are stuck -----------------------------------------------
mkfifo hold
"$client" socket doze 6 60000 <hold >/dev/null 2>&1 &
clients+=($!)
exec 9>hold
soon json 's["pool"]["seats_busy"] == 2 and s["tasks"]["queued"] == 4'
expect_json 'all(each["state"] == "busy" and each["handler"] == "doze"
    and 0 <= each["task_age_seconds"] < 60 for each in s["workers"])'
expect_json "len(s['clients']) == 1 and s['clients'][0]['pid'] == ${clients[0]}
    and s['clients'][0]['command'] == 'doze_client' and s['clients'][0]['queued'] == 4
    and s['clients'][0]['uid'] == $(id -u) and s['workers'][0]['lane'] == s['clients'][0]['lane']"
expect_json 'all(each["load"] > 0.9 for each in s["workers"])' --interval 200ms
soon json '0.5 < s["tasks"]["delay_seconds"] < 60'

# ---- Over HTTP -----------------------------------------------------------------
"$program" stats -s socket --listen ./metrics.socket 2>exporter.log &
exporter=$!
soon grep -qs 'are served at ./metrics.socket' exporter.log
get() { curl -sS -m 10 --unix-socket metrics.socket "$@"; }
get -o scraped -D headers http://localhost/metrics || fail "no metrics: $(<exporter.log)"
grep -qi '^content-type: application/openmetrics-text; version=1.0.0' headers ||
    fail "the wrong type: $(<headers)"
expect_metric 4 multicore_queued_tasks '' scraped
expect_metric 2 multicore_workers state=busy scraped
[[ $(get -o /dev/null -w '%{http_code}' http://localhost/) == 404 ]] || fail "/ is there"
[[ $(get -o /dev/null -w '%{http_code}' -d x http://localhost/metrics) == 405 ]] || fail "POST is taken"
expect 1 'a server listens at ./metrics.socket already' stats --listen ./metrics.socket

# It goes on when the pool goes, and when another one comes.
exec 9>&-
kill "${clients[0]}"
wait "${clients[0]}" 2>/dev/null
clients=()
kill -TERM "$server"
soon grep -q stopping log # the second time it has no patience
stop
expect 4 'no pool listens at socket' stats -s socket
up() {
    get -o scraped http://localhost/metrics && [[ $(metric multicore_up '' scraped) == "$1" ]]
}
soon up 0
start conf
soon up 1
expect_metric 0 multicore_tasks_total handler=doze scraped

# One can go on looking at a pool that drains.
"$client" socket doze 1 3000 </dev/null >/dev/null 2>&1 &
clients+=($!)
soon json 's["pool"]["seats_busy"] == 1'
kill -TERM "$server"
drains() {
    get -o scraped http://localhost/metrics && [[ $(metric multicore_closing '' scraped) == 1 ]]
}
soon drains
wait "$server"
wait "${clients[0]}"
clients=()
start conf

kill -TERM "$exporter"
wait "$exporter" || fail "the exporter ended with $?: $(<exporter.log)"
[[ ! -e metrics.socket ]] || fail "the exporter leaves its socket"

"$program" stats -s socket --listen localhost:0 2>exporter.log &
exporter=$!
soon grep -qs 'are served at localhost:0' exporter.log
port=$("$python" - "$exporter" <<'PYTHON'
import os, sys
pid = sys.argv[1]
inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
for table in "tcp", "tcp6":
    for line in open(f"/proc/{pid}/net/{table}").readlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[9]}]" in inodes:
            print(int(fields[1].split(":")[1], 16))
PYTHON
)
curl -sS -m 10 -o scraped "http://localhost:$port/metrics" || fail "nothing at port '$port'"
expect_metric 1 multicore_up '' scraped
expect 1 'cannot listen at' stats --listen "localhost:$port"
kill -INT "$exporter"
wait "$exporter" || fail "the exporter ended with $?: $(<exporter.log)"

# ---- Tasks that wait in an I/O worker ------------------------------------------
stop
cat >conf <<'CONF'
socket = "socket"
workers = 1
socket-mode = 0666
io-workers = 1
module "linger" { path = "modules/linger.so" }
CONF
start conf
expect_json '[each["pending"] for each in s["workers"]] == [None, 0] and s["tasks"]["pending"] == 0'
"$client" socket linger 7 60000 </dev/null >/dev/null 2>&1 &
clients+=($!)
soon json 's["workers"][1]["pending"] == 7'
expect_json 's["tasks"]["pending"] == 7 and s["tasks"]["queued"] == 0 and s["pool"]["seats_busy"] == 0'
expect 0 'tasks: 0 waiting, 7 pending, 0 ended' stats -s socket
"$program" stats -s socket --prometheus >metrics || fail "--prometheus"
expect_metric 7 multicore_pending_tasks '' metrics
expect_metric 7 multicore_worker_pending_tasks seat=1 metrics
expect_metric '' multicore_worker_pending_tasks seat=0 metrics
expect 0 'pending 7' top -s socket -n 1 -d 0.1
grep -q '^ *1 .* 7  *0 .* -$' said || fail "no task of the I/O worker: $(<said)"
kill "${clients[0]}"
wait "${clients[0]}" 2>/dev/null
clients=()
soon json 's["workers"][1]["pending"] == 0'

# ---- Who may -------------------------------------------------------------------
if ((EUID == 0)); then
    chmod 755 .
    setpriv --reuid=65534 --regid=65534 --clear-groups "$program" stats -s "$work/socket" >said 2>&1
    [[ $? == 4 ]] || fail "another user is let in: $(<said)"
    grep -q "only root and the pool's own user" said || fail "no reason: $(<said)"
fi

# ---- A pool that ends meanwhile ------------------------------------------------
timeout 20 "$program" stats -s socket --interval 2s >said 2>&1 &
observer=$!
soon grep -qs . "/proc/$observer/comm"
sleep 0.5
stop
wait "$observer"
[[ $? == 4 ]] || fail "a pool that is gone: $(<said)"
grep -q 'is gone' said || fail "nothing of a pool that is gone: $(<said)"

exit "$failed"
