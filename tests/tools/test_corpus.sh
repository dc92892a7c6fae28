#!/usr/bin/env bash
# test_corpus.sh PROGRAM MODULES SOURCE: what `multicore check` says of each file in
# tests/data/tools. good-*: nothing but warnings, and what --effective prints gives the
# same values again. bad-*: what is in its .expected, of which each line but the last
# names the file, with a line where there is one.
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit
corpus=$source/tests/data/tools
cp "$corpus"/* .
ln -s "$modules" modules

# answer FILE ARGUMENT...: what it prints, without what differs from one machine to another.
answer() {
    "$program" "$@" 2>&1 |
        sed "s|$(readlink -f "$work")|DIR|g; s|$work|DIR|g; s|'[^']*/multicore/nowhere|'MODULES/nowhere|"
    return "${PIPESTATUS[0]}"
}

# verdict NAME STATUS: with UPDATE set, writes what is said into the source tree instead.
verdict() {
    local status=0 said
    said=$(answer check "$1.conf") || status=$?
    [[ $status == "$2" ]] || fail "$1: status $status instead of $2"
    if [[ -n ${UPDATE-} ]]; then
        printf '%s\n' "$said" | tee "$1.expected" >"$corpus/$1.expected"
    else
        diff -u "$1.expected" - <<<"$said" || fail "$1: it says something else"
    fi
}

values() { sed 's/  # .*//' "$1"; }

count=0
for file in bad-*.conf; do
    name=${file%.conf}
    verdict "$name" 3
    grep -qE "^$file(:[0-9]+)?: [^ ]+ " "$name.expected" || fail "$name: no place and key"
    count=$((count + 1))
done
for file in good-*.conf; do
    name=${file%.conf}
    verdict "$name" 0
    "$program" check --effective "$file" >first.conf 2>/dev/null || fail "$name: not effective"
    "$program" check first.conf >/dev/null 2>&1 || fail "$name: --effective is no configuration"
    "$program" check --effective first.conf >second.conf 2>/dev/null
    diff -u <(values first.conf) <(values second.conf) || fail "$name: other values the second time"
    count=$((count + 1))
done
((count >= 20)) || fail "only $count files"

# Values and their sources.
"$program" check --effective good-all.conf >all.conf
for line in 'workers = 2  # good-all.conf:9' 'allow-users = {root, 1234}  # good-all.conf:27' \
    "    quote = 'it\\'s \"\${HOME}\" \\\\'  # good-all.conf:40"; do
    grep -qxF -- "$line" all.conf || fail "--effective lacks: $line"
done
"$program" check --effective good-empty.conf 2>/dev/null | grep -qx 'queue-depth = 4096  # default' ||
    fail "--effective lacks a default"

exit "$failed"
