#!/usr/bin/env bash
# test_packaging.sh PROGRAM MODULES SOURCE: what is installed beside the program fits it.
# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh" || exit

# The example, as it is and with every default written out.
"$program" check "$source/packaging/multicore.conf" || fail "the example is wrong"
sed 's/^#\([a-z-]* = \)/\1/' "$source/packaging/multicore.conf" >all.conf
"$program" check all.conf || fail "what the example comments out is wrong"
diff -u <("$program" check --effective "$source/packaging/multicore.conf" | sed 's/  # .*//') \
    <("$program" check --effective all.conf | sed 's/  # .*//') ||
    fail "what the example comments out is not the default"

# Completion and manual know every command.
mapfile -t commands < <("$program" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
((${#commands[@]} > 2)) || fail "--help lists no commands"
for command in "${commands[@]}"; do
    grep -q "'$command:" "$source/packaging/completion/_multicore" || fail "zsh lacks $command"
    grep -qF "*$command*" "$source/man/multicore.1.scd" || fail "the manual lacks $command"
    "$program" "$command" --help >help || fail "$command --help"
    grep -o -- '--[a-z-]*' help | sort -u >options
    while read -r option; do
        grep -q -- "$option" "$source/packaging/completion/multicore.bash" ||
            fail "bash lacks $option of $command"
        grep -q -- "$option" "$source/packaging/completion/_multicore" ||
            fail "zsh lacks $option of $command"
    done <options
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
            -e '/^Documentation=/d' "$source/packaging/systemd/$unit.in" >"$unit"
    done
    sed '/^Documentation=/d' "$source/packaging/systemd/multicore.socket" >multicore.socket
    systemd-analyze verify "$work/multicore.service" "$work/multicore.socket" \
        "$work/multicore-metrics.service" >found 2>&1
    if grep -E "^$work|^multicore[.-]" found; then
        fail "systemd-analyze has something to say"
    fi
fi

exit "$failed"
