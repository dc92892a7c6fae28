#!/usr/bin/env bash
# test_command.sh PROGRAM MODULES SOURCE: the command line, its exit codes, and a server
# from start to end.
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit
ln -s "$modules" modules

# ---- The command line ---------------------------------------------------------
expect 2 'usage: multicore COMMAND'
expect 0 'usage: multicore COMMAND' --help
expect 0 'usage: multicore COMMAND' help
expect 0 'usage: multicore check' help check
expect 0 'usage: multicore serve [OPTION...] CONFIG' serve -h
expect 0 'multicore 0.' --version
expect 2 "did you mean 'serve'?" sevre
expect 2 "did you mean 'check'?" help chek
expect 2 "there is no command 'paint'" paint
expect 2 "'--effect' comes before a command" --effect
expect 2 "did you mean '--effective'?" check --efective x
expect 2 'is no option of serve' serve -z x
expect 2 'wants the file' check
expect 2 'one file, not several' serve a b
expect 3 'nowhere.conf: the file cannot be read' check nowhere.conf
expect 3 'nowhere.conf: the file cannot be read' serve nowhere.conf

# ---- A server -----------------------------------------------------------------
cat >good.conf <<'EOF'
socket = "socket"
workers = 1
module "good" { path = "modules/good.so" }
EOF
start good.conf
[[ $(stat -c '%a %F' socket) == '600 socket' ]] || fail "the socket is $(stat -c '%a %F' socket)"
expect 1 "a server listens at $work/socket already" serve good.conf
[[ -S socket ]] || fail "the second server took the socket of the first"

# Reloading: what is wrong is told and not taken, what cannot change is told.
echo 'workres = 3' >>good.conf
kill -HUP "$server"
soon grep -q "workres is no key" log
soon grep -q 'the configuration stays as it was' log
sed -i '/^workres/d; s/good.so/refuse.so/' good.conf
kill -HUP "$server"
soon grep -q 'which font to use' log
sed -i 's/refuse.so/good.so/' good.conf
echo 'socket-mode = 0660' >>good.conf
sed -i 's/workers = 1/workers = 2/' good.conf
kill -HUP "$server"
soon grep -q ' workers needs a restart' log
soon grep -q ' socket-mode needs a restart' log
soon grep -q 'reloaded' log
for text in 'workres is no key' 'which font to use'; do
    [[ $(grep -c "$text" log) == 1 ]] || fail "not told once: $text: $(<log)"
done
stop
[[ ! -e socket ]] || fail "the socket is still there after an orderly end"

# A dead server's socket is replaced; anything else is left alone.
sed -i 's/workers = 2/workers = 1/' good.conf
start good.conf
kill -KILL "$server"
wait "$server" 2>/dev/null
[[ -S socket ]] || fail "a killed server cannot remove its socket, but it is gone"
start good.conf
[[ $(stat -c %a socket) == 660 ]] || fail "socket-mode is not used: $(stat -c %a socket)"
stop
echo keep >socket
expect 1 'is there and no socket' serve good.conf
[[ $(<socket) == keep ]] || fail "a file was taken for a socket"
rm socket

# Whoever reads what it says may go.
mkfifo lines
"$program" serve good.conf 2>lines &
server=$!
grep -m 1 -q 'ready, with' <lines
kill -HUP "$server"
soon "$program" reload --socket socket >said 2>&1
stop

# Or not read for a while: the server works on, and says how much was lost.
exec 8<>lines
dd if=/dev/zero of=lines bs=4096 oflag=nonblock 2>/dev/null
"$program" serve good.conf 2>&8 &
server=$!
soon "$program" reload --socket socket >said 2>&1
cat <&8 >log &
reader=$!
soon "$program" reload --socket socket >said 2>&1
soon grep -qa 'warning: lines that nobody read, and were dropped: [1-9]' log
soon grep -qa 'reloaded' log
kill "$reader"
exec 8>&-
stop

# What a module says, and where the socket cannot be.
sed 's/good.so/refuse.so/' good.conf >refuse.conf
expect 1 "no setting 'font'" serve refuse.conf
[[ ! -e socket ]] || fail "the socket is still there after a failed start"
sed 's|"socket"|"no/such/socket"|' good.conf >nodir.conf
expect 1 "create it, or set 'socket' to another path" serve nodir.conf

# The log for the journal.
exec 3>journal
JOURNAL_STREAM=$(stat -L -c '%d:%i' journal) "$program" serve nodir.conf 2>&3
exec 3>&-
grep -q '^<3>the directory of the socket' journal || fail "no level for the journal: $(<journal)"

exit "$failed"
