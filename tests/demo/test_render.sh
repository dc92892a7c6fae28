#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# test_render.sh RENDER MAKE_PDF - runs the render demo as its users do, and
# checks what it prints, writes and returns.
set -u

render=$1
make_pdf=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
failures=0

fail() {
    failures=$((failures + 1))
    echo "not ok - $name: $1"
    sed 's/^/    stdout: /' "$work/stdout"
    sed 's/^/    stderr: /' "$work/stderr"
}

# run NAME STATUS ARGUMENTS...: runs render, which is to end with that status.
run() {
    name=$1
    expected=$2
    shift 2
    echo "# $name"
    "$render" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
    status=$?
    [ "$status" -eq "$expected" ] || fail "exit status $status, not $expected"
}

# says stdout|stderr PATTERN: some line of it matches.
says() {
    grep -Eq -- "$2" "$work/$1" || fail "no '$2' on $1"
}

# lines stdout|stderr COUNT
lines() {
    count=$(wc -l <"$work/$1")
    [ "$count" -eq "$2" ] || fail "$count lines on $1, not $2"
}

# refused NAME STATUS PATTERN ARGUMENTS...: ends with one line on stderr.
refused() {
    pattern=$3
    refused_name=$1
    refused_status=$2
    shift 3
    run "$refused_name" "$refused_status" "$@"
    lines stdout 0
    lines stderr 1
    says stderr "^render: $pattern"
}

same() {
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

missing() {
    [ ! -e "$1" ] || fail "$1 is there"
}

present() {
    [ -s "$1" ] || fail "$1 is missing"
}

usage_errors() {
    out=$work/usage
    refused no_arguments_are_a_usage_error 2 'no document'
    refused an_output_directory_is_needed 2 'no --out' "$work/small.pdf"
    refused an_empty_output_directory_is_refused 2 "--out ''" "$work/small.pdf" --out ''
    refused one_document_at_a_time 2 'b.pdf: one document' a.pdf b.pdf --out "$out"
    refused an_unknown_option_is_named 2 '--fast: there is no such option' --fast
    refused a_missing_value_is_noticed 2 '--dpi needs a value' "$work/small.pdf" --out "$out" --dpi
    refused a_value_too_many_is_noticed 2 '--serial=1: the option takes no value' --serial=1
    refused dpi_is_named_with_its_limits 2 '--dpi 5: .* 10 to 1200; .*100' \
        "$work/small.pdf" --out "$out" --dpi 5
    refused dpi_is_a_whole_number 2 '--dpi 1e2: ' "$work/small.pdf" --out "$out" --dpi 1e2
    refused workers_are_named_with_their_limits 2 '--workers 0: .* 1 to 256; ' \
        "$work/small.pdf" --out "$out" --workers 0
    refused huge_numbers_do_not_wrap 2 '--workers 18446744073709551617: ' \
        "$work/small.pdf" --out "$out" --workers 18446744073709551617
    refused a_bad_load_limit_is_named 2 '--max-load-average much: ' \
        "$work/small.pdf" --out "$out" --max-load-average much
    refused an_unknown_scene_is_named 2 '--scene cows: .*users' --scene cows
    refused a_scene_takes_no_document 2 '--scene users takes no' "$work/small.pdf" --scene users
    refused serial_and_compare_exclude_each_other 2 '--serial and --compare' \
        "$work/small.pdf" --out "$out" --serial --compare
    refused serial_has_no_workers 2 '--serial has no pool' \
        "$work/small.pdf" --out "$out" --serial --workers 2
    refused the_crash_page_exists 2 '--crash-page 99: the last page is 12' \
        "$work/small.pdf" --out "$out" --crash-page 99
}

document_errors() {
    out=$work/documents
    : >"$work/empty.pdf"
    head -c 2000 "$work/small.pdf" >"$work/damaged.pdf"
    printf '%s\n' '%PDF-1.4' '1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj' \
        '2 0 obj <</Type/Pages/Kids[]/Count 0>> endobj' 'trailer <</Root 1 0 R>>' \
        '%%EOF' >"$work/pageless.pdf"
    refused a_missing_file_is_named 1 '.*/none.pdf: No such file' "$work/none.pdf" --out "$out"
    refused a_directory_is_no_document 1 '.*: not a regular file' "$work" --out "$out"
    refused an_empty_file_is_no_document 1 '.*empty.pdf: the file is empty' \
        "$work/empty.pdf" --out "$out"
    refused a_damaged_document_is_refused 1 '.*damaged.pdf: damaged' \
        "$work/damaged.pdf" --out "$out"
    refused a_document_without_pages_is_refused 1 '.*pageless.pdf: .*no pages' \
        "$work/pageless.pdf" --out "$out"
    missing "$out"
    if command -v qpdf >/dev/null; then
        qpdf --encrypt secret owner 256 -- "$work/small.pdf" "$work/locked.pdf"
        refused a_document_with_a_password_is_refused 1 '.*locked.pdf: needs a password' \
            "$work/locked.pdf" --out "$out"
    else
        echo "# skip a_document_with_a_password_is_refused: no qpdf"
    fi
}

directory_errors() {
    echo >"$work/file"
    refused a_file_is_no_output_directory 1 'cannot create the directory .*/file: ' \
        "$work/small.pdf" --out "$work/file"
    refused a_directory_cannot_be_made_below_a_file 1 'cannot create the directory .*/file/out: ' \
        "$work/small.pdf" --out "$work/file/out"
    # Root may write anywhere.
    if [ "$(id -u)" -ne 0 ]; then
        mkdir "$work/locked"
        chmod 500 "$work/locked"
        refused an_unwritable_directory_is_refused 1 'cannot write to the directory .*/locked: ' \
            "$work/small.pdf" --out "$work/locked"
    fi
}

help_text() {
    run help_names_every_option 0 --help
    lines stderr 0
    for option in out dpi workers max-load-average trust serial compare crash-page scene; do
        says stdout "^  --$option "
    done
}

pages_agree() {
    run serial_renders_every_page 0 "$work/small.pdf" --out "$work/serial" --dpi 50 --serial
    lines stderr 0
    says stdout '^12 pages in [0-9.]+ s, [0-9.]+ pages/s in this process; .*/contact-sheet.png$'
    run the_pool_renders_the_same_pages 0 "$work/small.pdf" --out "$work/deep/pool" --dpi 50 \
        --workers 2
    lines stderr 0
    says stdout '^12 pages in [0-9.]+ s, [0-9.]+ pages/s on 2 workers; .*/contact-sheet.png$'
    for page in 01 02 03 04 05 06 07 08 09 10 11 12; do
        present "$work/serial/page-00$page.png"
        same "$work/serial/page-00$page.png" "$work/deep/pool/page-00$page.png"
    done
    same "$work/serial/contact-sheet.png" "$work/deep/pool/contact-sheet.png"
}

# A CPU quota makes the pool look at pressure, which cannot be made up here.
busy_row() {
    if grep -q '^under load: parallel .*quota' "$work/stdout"; then
        echo "# skip busy_row: this machine has a CPU quota"
    else
        says stdout "$1"
    fi
}

compare_modes() {
    run compare_finds_identical_pages 0 "$work/small.pdf" --out "$work/compare" --dpi 50 --compare
    says stdout '^serial +- .* -$'
    says stdout '^parallel +[0-9]+ .* yes$'
    busy_row '^under load: narrow +1 .* yes$'
    lines stdout 7
    lines stderr 0
    same "$work/compare/serial/page-0003.png" "$work/compare/busy/page-0003.png"
    run trusted_pages_are_rendered_inline_under_load 0 \
        "$work/small.pdf" --out "$work/compare" --dpi 50 --compare --trust
    busy_row '^under load: inline +- .* yes$'
}

failing_pages() {
    mkdir -p "$work/crash"
    echo stale >"$work/crash/page-0007.png"
    run a_page_that_crashes_costs_that_page_alone 1 \
        "$work/small.pdf" --out "$work/crash" --dpi 50 --crash-page 7
    lines stderr 1
    says stderr "^render: page 7: handler 'render' .*worker [0-9]+"
    says stderr '(SIGSEGV|Segmentation fault|signal 11)'
    says stdout '^11 of 12 pages in '
    missing "$work/crash/page-0007.png"
    present "$work/crash/page-0006.png"
    present "$work/crash/page-0008.png"
    present "$work/crash/page-0012.png"
    present "$work/crash/contact-sheet.png"

    "$make_pdf" "$work/large.pdf" 4 3 || exit 1
    for mode in --serial --trust; do
        run "a_page_too_large_is_refused_alone_$mode" 1 \
            "$work/large.pdf" --out "$work/large" --dpi 100 "$mode"
        lines stderr 1
        says stderr '^render: page 3: at 100 dpi .*20000 x 20000 .*16384.*--dpi'
        says stdout '^3 of 4 pages in '
    done
}

# A terminal of so many columns; what is left on it is the closing line only.
terminal() {
    name=$1
    echo "# $name"
    TERM=xterm script -qec "stty cols $2; exec '$render' '$work/small.pdf' \
        --out '$work/terminal' --dpi 50 --serial" /dev/null >"$work/stdout" 2>"$work/stderr" \
        </dev/null || fail "exit status $?"
    says stdout "$3"
    says stdout '12 pages in '
    longest=$(tr '\r' '\n' <"$work/stdout" | grep -v 'pages in' | sed 's/.\[K//' |
        awk '{ if (length($0) > most) most = length($0) } END { print most + 0 }')
    [ "$longest" -lt "$2" ] || fail "$longest characters in $2 columns"
}

progress_bar() {
    if ! command -v script >/dev/null; then
        echo "# skip progress_bar: no script(1)"
        return
    fi
    terminal a_terminal_shows_a_bar 80 '\[[#.]+\] [0-9]+/12  [0-9.]+ pages/s'
    terminal a_small_terminal_shows_a_small_bar 24 '\[[#.]+\] [0-9]+/12'
    terminal a_tiny_terminal_shows_the_count 8 '[0-9]+/12'
}

users() {
    run users_come_back_in_order 0 --scene users --workers 2
    lines stderr 0
    says stdout '^serial +1\.[0-9]+ s$'
    says stdout '^parallel +[0-9.]+ s on 2 workers$'
    says stdout '^identical +yes$'
}

"$make_pdf" "$work/small.pdf" 12 || exit 1
help_text
usage_errors
document_errors
directory_errors
pages_agree
failing_pages
compare_modes
progress_bar
users

if [ "$failures" -gt 0 ]; then
    echo "$failures checks failed"
    exit 1
fi
echo "all checks passed"
