#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# test_web.sh WEB SCHEMA POSTGRES MAKE_PDF [MODES] - every route of the web demo in every mode, over
# a PostgreSQL server of its own that goes away and comes back, with requests that are wrong,
# too many or too slow, workers that are killed, and an end in the middle of it all.
# POSTGRES is the directory of initdb and pg_ctl; a fifth argument names the modes.
set -u

web=$1 schema=$2 postgres=$3 make_pdf=$4
work=$(mktemp -d /tmp/multicore-web-test-XXXXXX) || exit 1
chmod 755 "$work"
failures=0
web_pid=
url=

fail() {
    failures=$((failures + 1))
    echo "not ok - $mode: $*"
}

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then echo "ok - $mode: $name"; else fail "$name: ${answer:-}"; fi
}

# ---- The database -----------------------------------------------------------

# initdb refuses to be root.
as_postgres() {
    if ((EUID == 0)); then
        (cd "$work" && setpriv --reuid=postgres --regid=postgres --clear-groups "$@")
    else
        "$@"
    fi
}

start_database() {
    as_postgres "$postgres/pg_ctl" -D "$work/db/data" -w -l "$work/db/log" \
        -o "-k $work/db -c listen_addresses= -c max_connections=20" start >/dev/null
}

end_database() { # MODE
    as_postgres "$postgres/pg_ctl" -D "$work/db/data" -w -m "$1" stop >/dev/null
}

stop_database() { end_database fast; }

sql() { psql -X -q -h "$work/db" -U "$db_user" -d postgres "$@"; }

make_database() {
    db_user=postgres
    database=(--database "host=$work/db user=$db_user dbname=postgres
        options='-c application_name=web-of-test'")
    mkdir "$work/db"
    if ((EUID == 0)); then chown postgres "$work/db"; fi
    as_postgres "$postgres/initdb" -D "$work/db/data" -U postgres -A trust -N >/dev/null &&
        start_database && sql -f "$schema"
}

# ---- The server -------------------------------------------------------------

start_web() { # ARGUMENT...
    : >"$work/out"
    env --default-signal=HUP "$web" --mode "$mode" --listen 127.0.0.1:0 --unix "$work/socket" \
        --access-log "$work/log" "${database[@]}" "$@" >"$work/out" 2>"$work/err" &
    web_pid=$!
    for ((i = 0; i < 500; i++)); do
        url=$(sed -n 's|^listening on \([^ ]*\) and .*|http://\1|p' "$work/out")
        [[ -n $url ]] && return
        sleep 0.02
    done
    fail "the server does not start: $(cat "$work/err")"
}

stop_web() { # [SIGNAL]
    local status=0
    kill "-${1:-TERM}" "$web_pid"
    wait "$web_pid" || status=$?
    web_pid=
    check "ends with 0 on SIG${1:-TERM}" test "$status" = 0
}

clean_up() {
    [[ -n $web_pid ]] && kill -TERM "$web_pid" && wait "$web_pid"
    [[ -f $work/db/data/postmaster.pid ]] && stop_database
    ((failures)) && tail -n 5 "$work/err" "$work/log" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ask PATH [CURL-ARGUMENT...]: $answer is the body, $code the status; 000 when none came.
ask() {
    local path=$1
    shift
    code=$(curl -s -m 20 -o "$work/answer" -D "$work/head" -w '%{http_code}' "$@" "$url$path")
    answer="$code $(tr -d '\0' <"$work/answer" | head -c 300)"
}

gives() { # CODE TEXT PATH [CURL-ARGUMENT...]
    local wanted=$1 text=$2
    shift 2
    ask "$@"
    [[ $code == "$wanted" ]] && grep -qF -- "$text" "$work/answer"
}

has_header() { grep -qi "^$1" "$work/head"; }

# A lot of requests at once; prints how many ended with which status.
many() { # PATH COUNT [CURL-ARGUMENT...]
    local path=$1 count=$2
    shift 2
    seq "$count" | xargs -P 16 -I{} curl -s -m 30 -o /dev/null -w '%{http_code}\n' "$@" \
        "$url$path" | sort | uniq -c | awk '{printf "%s%s:%s", separator, $2, $1; separator = " "}'
}

# ---- What is tried ----------------------------------------------------------

post='{"title": "one", "content": "of \u00e4ll"}'

routes_work() {
    check "cpu" gives 200 '{"result":333333283333335000000}' /posts/cpu/
    check "io_create" gives 201 '"title":"one","content":"of äll"' /posts/io_create/ -d "$post"
    check "io_read" gives 200 '"results":[{"id":' /posts/io_read/
    answer=$(sql -At -c 'SELECT application_name FROM pg_stat_activity')
    check "by connections with options of the user's" grep -qx web-of-test <<<"$answer"
    check "over the Unix socket" gives 200 '"count":' /posts/io_read/ --unix-socket "$work/socket"
    check "HEAD" gives 200 '' /posts/cpu/ -I
}

# A socket that is served, or no socket at all, is nobody's to replace.
paths_are_respected() {
    local problem
    problem=$(timeout 20 "$web" --mode "$mode" --unix "$work/socket" 2>&1)
    answer=$problem check "a socket that is served" \
        test "${problem##*: }" = 'Address already in use'
    check "it is still served" gives 200 '' / --unix-socket "$work/socket"
    echo precious >"$work/file"
    answer=$(timeout 20 "$web" --mode "$mode" --unix "$work/file" 2>&1)
    check "a file that is no socket" grep -q precious "$work/file"
    answer=$(timeout 20 "$web" --listen 127.0.0.1:65536 2>&1)
    check "a port that is none" test "$?" = 2
}

errors_are_clear() {
    check "a missing field is named" gives 400 'content' /posts/io_create/ -d '{"title": "x"}'
    check "no JSON" gives 400 'no JSON, at byte' /posts/io_create/ -d '{"title'
    check "no body" gives 400 'no JSON' /posts/io_create/ -X POST
    check "no such path" gives 404 'nothing here' /posts/
    check "no such method" gives 405 'method' /posts/io_create/
    check "the one that there is" has_header 'Allow: POST'
    head -c 1100000 /dev/zero >"$work/large"
    check "too large" gives 413 '1048576' /posts/io_create/ --data-binary "@$work/large"
    check "too large, and not announced" gives 413 '1048576' /posts/io_create/ \
        -H 'Transfer-Encoding: chunked' --data-binary "@$work/large"
    answer=$(curl -s -m 20 -o "$work/answer" -w '%{http_code} %{size_upload}' -H 'Expect: 100-continue' \
        --expect100-timeout 20 --data-binary "@$work/large" "$url/posts/io_create/")
    check "before it is sent, to who asks" test "$answer" = '413 0'
    answer=$(curl -s -m 20 -o "$work/answer" -w '%{http_code} %{num_connects} ' -H 'Expect:' \
        --data-binary "@$work/large" "$url/none" --next -s -o "$work/answer" \
        -w '%{http_code} %{num_connects}' "$url/")
    check "after it was read, to others" test "$answer" = '404 1 200 0'
    check "still there" gives 200 '' /posts/cpu/
    ask /none -X $'G\eT'
    check "no escapes in the log" grep -q 'G%1BT /none 404' "$work/log"
}

database_may_go() {
    stop_database
    check "without database" gives 503 'database' /posts/io_read/
    check "when to come again" has_header 'Retry-After: 1'
    check "the rest goes on" gives 200 '' /posts/cpu/
    start_database
    check "the database is back" gives 200 '"count":' /posts/io_read/
    check "and takes posts" gives 201 '"id"' /posts/io_create/ -d "$post"
}

# More at once than the database has connections for: they share those.
connections_are_shared() {
    answer=$(many /posts/io_read/ 100)
    check "a hundred requests" test "$answer" = 200:100
}

# The server says so, and the connection is used on.
tables_may_be_missing() {
    sql -c 'ALTER TABLE posts RENAME TO other'
    start_web --connections 1
    check "no table" gives 500 'does not exist' /posts/io_read/
    sql -c 'ALTER TABLE other RENAME TO posts'
    check "a table" gives 200 '"count":' /posts/io_read/
    stop_web
}

# It starts, and serves what needs none.
no_database_is_needed() {
    local database=()
    start_web
    check "computes" gives 200 '"result"' /posts/cpu/
    check "what is missing" gives 503 'no database; it is given with --database' /posts/io_read/
    check "also for posts" gives 503 'no database' /posts/io_create/ -d "$post"
    stop_web
}

locks() { # GRANTED
    sql -At -c "SELECT count(*) FROM pg_locks WHERE relation = 'posts'::regclass AND granted = $1"
}

# Posts cannot be created until unlock_posts.
lock_posts() {
    coproc LOCK { sql 2>/dev/null; } # it may lose the server
    lock_pid=$! # of the coprocess
    echo 'BEGIN; LOCK TABLE posts;' >&"${LOCK[1]}"
    until [[ $(locks true) == 1 ]]; do sleep 0.02; done
}

unlock_posts() {
    echo 'COMMIT;' >&"${LOCK[1]}"
    eval "exec ${LOCK[1]}>&-"
    wait "$lock_pid"
}

# Reads, of which each takes long, leave connections to posts.
reads_leave_connections_to_posts() {
    local reads=() i
    start_web --connections 8
    lock_posts
    for ((i = 0; i < 10; i++)); do
        curl -s -m 30 -o "$work/read.$i" "$url/posts/io_read/" &
        reads+=($!)
    done
    until [[ $(locks false) == 2 ]]; do sleep 0.02; done
    curl -s -m 30 -o "$work/post" -d "$post" "$url/posts/io_create/" &
    post_pid=$!
    until [[ $(locks false) == 3 ]] || ! kill -0 "$post_pid" 2>/dev/null; do sleep 0.02; done
    check "a post beside reads" kill -0 "$post_pid"
    unlock_posts
    wait "$post_pid" "${reads[@]}"
    answer=$(grep -l '"count":' "$work"/read.* | wc -l)
    check "reads are answered" test "$answer" = 10
    check "and the post" grep -q '"id"' "$work/post"
    rm "$work"/read.*
    stop_web
}

# A request that waits for the lock, in the background; its answer goes to a file.
begin_post() { # FILE [CURL-ARGUMENT...]
    curl -s -m 30 -o "$@" -d "$post" "$url/posts/io_create/" &
    post_pid=$!
    until [[ $(locks false) == 1 ]]; do sleep 0.02; done
}

# A post by a connection that has been used: $answer begins with its status.
lose_post() { # COMMAND...
    ask /posts/io_create/ -d "$post"
    lock_posts
    begin_post "$work/answer" -D "$work/head"
    "$@"
    wait "$post_pid"
    answer="$(sed -n '1s/^[^ ]* //p' "$work/head")$(cat "$work/answer")"
    unlock_posts
}

end_sessions() { sql -c 'SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted' >/dev/null; }

# One that the server does not go on with is not there; one that it went with may be.
posts_may_be_lost() {
    start_web
    lose_post end_sessions
    check "a post that the database ends" test "${answer%% *}" = 503
    lose_post end_database immediate
    check "a post that the database goes with" test "${answer%% *}" = 502
    start_database
    stop_web
}

nobody_waits_for_locks() {
    for ((i = 0; i < 250; i++)); do
        [[ $(locks false) == 0 ]] && return
        sleep 0.02
    done
    return 1
}

# Also in the database.
slow_requests_are_ended() {
    start_web --time-limit 300
    lock_posts
    check "over the time limit" gives 504 'time' /posts/io_create/ -d "$post"
    check "and its query" nobody_waits_for_locks
    unlock_posts
    stop_web
}

# A document of one page, so many points a side, with what else is in the page and the file.
make_square() { # FILE SIDE [PAGE OBJECTS]
    cat >"$1" <<END
%PDF-1.4
1 0 obj
<</Type/Catalog/Pages 2 0 R>>
endobj
2 0 obj
<</Type/Pages/Kids[3 0 R]/Count 1>>
endobj
3 0 obj
<</Type/Page/Parent 2 0 R/MediaBox[0 0 $2 $2]${3:-}>>
endobj
${4:-}
trailer
<</Root 1 0 R>>
END
}

# Its page takes hours: it draws a form ten times, which draws another one ten times, and so on.
make_endless() { # FILE
    local objects='' i text
    for i in {4..14}; do
        text=$(printf '/X Do %.0s' {1..10})
        objects+="$i 0 obj"$'\n'"<</Type/XObject/Subtype/Form/BBox[0 0 99 99]/Length ${#text}"
        objects+="/Resources<</XObject<</X $((i + 1)) 0 R>>>>>>"$'\n'"stream"$'\n'
        objects+="$text"$'\n'"endstream"$'\n'"endobj"$'\n'
    done
    text='0 0 9 9 re f'
    objects+="15 0 obj"$'\n'"<</Type/XObject/Subtype/Form/BBox[0 0 99 99]/Length ${#text}>>"$'\n'
    objects+="stream"$'\n'"$text"$'\n'"endstream"$'\n'"endobj"
    make_square "$1" 99 '/Resources<</XObject<</X 4 0 R>>>>/Contents 4 0 R' "$objects"
}

documents_are_drawn() {
    local place form='multipart/form-data; boundary=of'
    "$make_pdf" "$work/some.pdf" 3 >/dev/null
    check "a document" gives 303 /documents/ /documents -F "document=@$work/some.pdf"
    place=${answer#* }
    check "its page" gives 200 'alt="Page 3"' "$place"
    check "a picture" gives 200 PNG "${place}3"
    check "the same again" gives 200 PNG "${place}3"
    check "and no other" gives 404 'no such page' "${place}4"
    check "no PDF document" gives 400 'no PDF' /documents -F "document=@$schema"
    check "and no other way to say it" gives 404 'no such page' "${place}+3"
    make_square "$work/large.pdf" 100000
    ask /documents -F "document=@$work/large.pdf"
    check "a page that is too large" gives 400 'too large' "${answer#* }1"
    check "no document" gives 400 'form' /documents -d x=y
    check "two documents" gives 400 'form' /documents -F "document=@$work/some.pdf" \
        -F "document=@$work/some.pdf"
    check "text in place of a file" gives 400 'form' /documents -F "document=<$work/some.pdf"
    check "a form without names" gives 400 'form' /documents -H "Content-Type: $form" \
        --data-binary $'--of\r\nContent-Disposition: form-data\r\n\r\nx\r\n--of--\r\n'
    check "the page" gives 200 '<form action="/documents"' /
    answer=$(curl -sN -m 1 "$url/events?document=$(basename "$place")" | head -n 1)
    check "events, where it counts once" test "${answer#*\"drawn\":1,}" != "$answer"
}

# begin PATH TEXT [SIZE]: a request whose body, of SIZE bytes, begins with the text; $connection is its.
begin() {
    exec {connection}<>"/dev/tcp/127.0.0.1/${url##*:}"
    printf 'POST %s HTTP/1.0\r\nContent-Length: %d\r\n%s\r\n%s' "$1" "${3:-${#2}}" \
        "${headers:-}" "$2" >&"$connection"
}

end() { eval "exec $connection>&-"; }

# The rest of a post that was begun with its first five bytes; $answer is all that comes back.
complete_post() {
    printf %s "${post:5}" >&"$connection"
    answer=$(cat <&"$connection")
    end
}

# A body that took long leaves as much time as others have, and who is complete first is out of
# time first.
time_is_counted_from_the_end_of_the_body() {
    start_web --time-limit 2000
    begin /posts/io_create/ "${post:0:5}" "${#post}"
    sleep 2.2
    complete_post
    check "a slow body" grep -qF '"id"' <<<"$answer"
    lock_posts
    begin /posts/io_create/ "${post:0:5}" "${#post}"
    begin_post "$work/second" --unix-socket "$work/socket"
    sleep 0.5
    complete_post
    wait "$post_pid"
    unlock_posts
    stop_web
    answer=$(tail -n 2 "$work/log")
    check "both were ended" test "$(grep -c ' 504 ' <<<"$answer")" = 2
    check "in order" grep -q ' unix ' <(head -n 1 <<<"$answer")
}

closed_terminals_end_it() {
    start_web
    stop_web HUP
}

# As docs/WEB.md has it, for nginx to connect.
sockets_have_the_umask() {
    umask 0007
    start_web
    umask 0022
    check "a socket for the group" test "$(stat -c %a "$work/socket")" = 770
    stop_web
}

# Whoever sends without end is not waited for.
slow_senders_do_not_hold_the_end() {
    start_web --time-limit 300
    begin /posts/io_create/ '{' 1000
    check "there is a slow sender" gives 200 '' /
    stop_web
    end
}

# Nor is it kept for ever, though something comes again and again.
slow_senders_are_dropped() {
    start_web --body-time-limit 200
    begin /posts/io_create/ '{' 1000
    sleep 0.3
    printf x >&"$connection"
    check "the connection is closed" timeout 20 cat <&"$connection"
    end
    stop_web
    check "and the log says why" grep -q '/posts/io_create/ 408 .* incomplete' "$work/log"
}

uploads_are_limited() {
    local connections=() headers=$'Content-Type: multipart/form-data; boundary=of\r\n'
    start_web
    for ((i = 0; i < 16; i++)); do
        begin /documents $'--of\r\nContent-Disposition: form-data; name="document"; filename="x"\r\n\r\nx' 1000
        connections+=("$connection")
    done
    check "too many uploads" gives 503 'documents at once' /documents -F "document=@$schema"
    for connection in "${connections[@]}"; do end; done
    until gives 400 'no PDF' /documents -F "document=@$schema"; do sleep 0.02; done
    stop_web
}

# What a server that is busy did not look at before it was told to end.
requests_that_came_in_time_are_served() {
    local connections=()
    start_web
    lock_posts
    begin_post "$work/first"
    kill -TERM "$web_pid"
    for ((i = 0; i < 50; i++)); do
        begin /posts/io_create/ "$post"
        connections+=("$connection")
    done
    unlock_posts
    answer=$(for connection in "${connections[@]}"; do cat <&"$connection"; done 2>&1)
    answer=$(grep -c '"id"' <<<"$answer")
    check "the others got their answers" test "$answer" = 50
    for connection in "${connections[@]}"; do end; done
    wait "$post_pid" "$web_pid"
    check "ended when they were answered" test "$?" = 0
    web_pid=
}

too_many_are_turned_away() {
    start_web --max-requests 1
    lock_posts
    begin_post "$work/first"
    check "too many at once" gives 503 'too many' /posts/cpu/
    unlock_posts
    wait "$post_pid"
    check "the first got its answer" grep -q '"id"' "$work/first"
    stop_web
}

waiting() { curl -sN -m 0.5 "$url/events" | head -n 1 | grep -o '"waiting":[0-9]*'; }

# More than a pool has room for if nothing is said; descriptors are needed for them.
as_many_as_are_allowed_wait() {
    local connections=()
    [[ $(ulimit -Hn) != unlimited ]] && (($(ulimit -Hn) < 10000)) && return
    ulimit -Sn "$(ulimit -Hn)"
    start_web --max-requests 5000
    lock_posts
    for ((i = 0; i < 4200; i++)); do
        exec {connection}<>"/dev/tcp/127.0.0.1/${url##*:}"
        printf 'GET /posts/io_read/ HTTP/1.0\r\n\r\n' >&"$connection"
        connections+=("$connection")
    done
    for ((i = 0; i < 100; i++)); do
        answer=$(waiting)
        [[ $answer == '"waiting":4200' ]] && break
    done
    check "4200 requests at once" test "$answer" = '"waiting":4200'
    for connection in "${connections[@]}"; do end; done
    unlock_posts
    stop_web
}

requests_are_answered_before_the_end() {
    start_web
    lock_posts
    begin_post "$work/last"
    kill -TERM "$web_pid"
    until ! [[ -e $work/socket ]]; do sleep 0.02; done
    unlock_posts
    wait "$post_pid"
    check "the last request got its answer" grep -q '"id"' "$work/last"
    wait "$web_pid"
    check "ended when it was answered" test "$?" = 0
    web_pid=
}

# No request hangs, and those that only read are not even lost.
workers_may_die() {
    local killer
    start_web
    (for ((i = 0; i < 15; i++)); do
        kill -KILL "$(worker_pids | shuf -n 1)" 2>/dev/null
        sleep 0.1
    done) &
    killer=$!
    answer="$(many /posts/cpu/ 100) $(many /posts/io_read/ 150)"
    wait "$killer"
    check "no request is lost with its worker" test "$answer" = '200:100 200:150'
    stop_web
}

# What waits in an I/O worker when that is killed: reads are run again, a post is not.
reads_survive_their_worker() {
    local reads=() i
    start_web
    lock_posts
    begin_post "$work/post"
    for ((i = 0; i < 5; i++)); do
        curl -s -m 30 -o "$work/read.$i" "$url/posts/io_read/" &
        reads+=($!)
    done
    until [[ $(locks false) == 6 ]]; do sleep 0.02; done
    kill -KILL "$(worker_pids | tail -n 1)" # the seats for I/O come last
    wait "$post_pid"
    unlock_posts
    wait "${reads[@]}"
    check "the post is not created again" grep -q '"error"' "$work/post"
    answer=$(grep -l '"count":' "$work"/read.* | wc -l)
    check "reads are answered" test "$answer" = 5
    stop_web
}

# Whoever waits is told, and the server ends, for others to start it again.
pool_may_be_lost() {
    local status=0 worker
    start_web
    lock_posts
    begin_post "$work/lost"
    worker=$(worker_pids | head -n 1)
    kill -KILL "$(ps -o ppid= -p "$worker" | tr -d ' ')"
    wait "$web_pid" || status=$?
    web_pid=
    unlock_posts
    wait "$post_pid"
    check "the server ends with 1" test "$status" = 1
    check "the request got an answer" grep -q '"error"' "$work/lost"
}

# Who looks at the page is about to ask for pictures: all but the last, which is for I/O, load
# what draws them.
drawing_is_prepared() {
    local maps ready=0 i
    start_web
    mapfile -t maps < <(worker_pids | head -n -1 | sed 's|.*|/proc/&/maps|')
    check "nothing is loaded before" test -z "$(grep -lF web-drawing.so "${maps[@]}")"
    ask /
    for ((i = 0; i < 250 && ready < ${#maps[@]}; i++)); do
        ready=$(grep -lF web-drawing.so "${maps[@]}" | wc -l)
        sleep 0.02
    done
    answer="$ready of ${#maps[@]}"
    check "and by all workers then" test "$ready" = "${#maps[@]}"
    stop_web
}

# Also what workers are doing.
second_signal_ends_at_once() {
    local drawing start
    start_web
    make_endless "$work/endless.pdf"
    ask /documents -F "document=@$work/endless.pdf"
    curl -s -m 30 -o "$work/answer" "$url${answer#* }1" &
    drawing=$!
    sleep 0.5
    check "a page is being drawn" kill -0 "$drawing"
    start=$SECONDS
    kill -TERM "$web_pid"
    until ! [[ -e $work/socket ]]; do sleep 0.02; done
    stop_web
    wait "$drawing"
    answer="$((SECONDS - start)) s"
    check "and not waited for" test $((SECONDS - start)) -lt 8
}

# From the events that the page shows.
worker_pids() {
    curl -sN -m 0.2 "$url/events" | head -n 1 | grep -o '"pid":[0-9]*' | grep -o '[1-9][0-9]*'
}

mode=all
make_database || { echo "not ok - no PostgreSQL server"; exit 1; }
for mode in ${5:-sync async pool}; do
    start_web --connections 40
    routes_work
    paths_are_respected
    errors_are_clear
    database_may_go
    connections_are_shared
    documents_are_drawn
    stop_web
    slow_requests_are_ended
    no_database_is_needed
    tables_may_be_missing
done
for mode in async pool; do # sync has nothing in between
    too_many_are_turned_away
    time_is_counted_from_the_end_of_the_body
    requests_are_answered_before_the_end
    posts_may_be_lost
    reads_leave_connections_to_posts
done
mode=sync
slow_senders_do_not_hold_the_end
slow_senders_are_dropped
closed_terminals_end_it
sockets_have_the_umask
uploads_are_limited
requests_that_came_in_time_are_served
mode=pool
drawing_is_prepared
as_many_as_are_allowed_wait
workers_may_die
reads_survive_their_worker
second_signal_ends_at_once
pool_may_be_lost
((failures == 0))
