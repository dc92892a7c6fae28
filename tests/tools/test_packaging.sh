#!/usr/bin/env bash
# test_packaging.sh PROGRAM MODULES SOURCE: what is installed beside the program fits it.
set -uo pipefail

program=$1 source=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
    echo "FAILED: $*" >&2
    failed=1
}

# The example, as it is and with every default written out.
"$program" check "$source/packaging/multicore.conf" || fail "the example is wrong"
sed 's/^#\([a-z-]* = \)/\1/' "$source/packaging/multicore.conf" >"$work/all.conf"
"$program" check "$work/all.conf" || fail "what the example comments out is wrong"
diff -u <("$program" check --effective "$source/packaging/multicore.conf" | sed 's/  # .*//') \
    <("$program" check --effective "$work/all.conf" | sed 's/  # .*//') ||
    fail "what the example comments out is not the default"

# Completion and manual know every command.
mapfile -t commands < <("$program" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
((${#commands[@]} > 2)) || fail "--help lists no commands"
for command in "${commands[@]}"; do
    grep -q "'$command:" "$source/packaging/completion/_multicore" || fail "zsh lacks $command"
    grep -qF "*$command*" "$source/man/multicore.1.scd" || fail "the manual lacks $command"
    "$program" "$command" --help >"$work/help" || fail "$command --help"
    grep -o -- '--[a-z-]*' "$work/help" | sort -u >"$work/options"
    while read -r option; do
        grep -q -- "$option" "$source/packaging/completion/multicore.bash" ||
            fail "bash lacks $option of $command"
        grep -q -- "$option" "$source/packaging/completion/_multicore" ||
            fail "zsh lacks $option of $command"
    done <"$work/options"
done
reply=$(bash -c '. "$1"; COMP_WORDS=(multicore ""); COMP_CWORD=1; _multicore; echo "${COMPREPLY[*]}"' \
    - "$source/packaging/completion/multicore.bash")
for command in "${commands[@]}"; do
    [[ " $reply " == *" $command "* ]] || fail "bash completes no $command: $reply"
done
if command -v zsh >/dev/null; then
    zsh -n "$source/packaging/completion/_multicore" || fail "zsh cannot read its completion"
fi

# The units, with a program that is there.
if command -v systemd-analyze >/dev/null; then
    for unit in multicore.service multicore-metrics.service; do
        sed -e "s|@CMAKE_INSTALL_FULL_BINDIR@/multicore|$program|" -e 's|@[A-Z_]*@|/etc/multicore.conf|' \
            -e '/^Documentation=/d' "$source/packaging/systemd/$unit.in" >"$work/$unit"
    done
    sed '/^Documentation=/d' "$source/packaging/systemd/multicore.socket" >"$work/multicore.socket"
    systemd-analyze verify "$work/multicore.service" "$work/multicore.socket" \
        "$work/multicore-metrics.service" >"$work/verify" 2>&1
    if grep -E "^$work|^multicore[.-]" "$work/verify"; then
        fail "systemd-analyze has something to say"
    fi
fi

exit "$failed"
