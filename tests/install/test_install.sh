#!/usr/bin/env bash
# test_install.sh BUILD_DIR: installs the library, moves the installed tree, then
# builds and runs a project of its own against it, once through find_package and
# once through pkg-config.
set -euo pipefail

build=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" >/dev/null
prefix=$work/moved
mv "$work/first" "$prefix"
libdir=$(dirname "$(find "$prefix" -name libmulticore.so)")

echo "-- contents"
[[ $(cd "$prefix/include" && find . -type f) == ./multicore.h ]] ||
    fail "headers other than multicore.h are installed"
if grep -rlE "$work/first|multicore_flags|PkgConfig::" "$libdir/cmake/multicore" "$libdir/pkgconfig"; then
    fail "the package names its first prefix or a private target"
fi

if [[ -e $prefix/bin/multicore ]]; then
    echo "-- command"
    "$prefix/bin/multicore" --version
    find "$prefix" \( -path '*/examples/multicore.conf' -o -path '*/completions/multicore' \
        -o -name _multicore -o -name multicore.service -o -name multicore.socket \
        -o -name multicore-metrics.service \) >"$work/beside"
    (($(wc -l <"$work/beside") == 6)) || fail "of what goes with the command there is only: $(<"$work/beside")"
    "$prefix/bin/multicore" check "$(grep multicore.conf "$work/beside")"
fi

if readelf -n "$libdir/libmulticore.so" | grep 'Provider: multicore' >/dev/null; then
    echo "-- scripts for bpftrace"
    find "$prefix" -path '*/multicore/bpftrace/*.bt' >"$work/scripts"
    (($(wc -l <"$work/scripts") == 2)) || fail "of the scripts for bpftrace there is only: $(<"$work/scripts")"
    if xargs grep -lF "$build" <"$work/scripts"; then
        fail "the scripts name the build directory"
    fi
fi

echo "-- find_package"
cmake -S "$here/outside" -B "$work/outside" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/outside"
"$work/outside/outside"

echo "-- pkg-config"
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
[[ $(pkg-config --libs-only-l multicore) =~ ^-lmulticore\ *$ ]] ||
    fail "users are asked to link private libraries: $(pkg-config --libs multicore)"
read -ra flags <<<"$(pkg-config --cflags --libs multicore)"
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -o "$work/with_pkgconfig" "$here/outside/main.c" "${flags[@]}"
"$work/with_pkgconfig"
