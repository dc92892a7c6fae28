#!/usr/bin/env bash
# configure.sh SOURCE COMPILER OBJECTS - runs nginx's configure script for this module.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$1"
# shellcheck source=/dev/null
. ./conf_flags
mkdir -p "$3"
./configure "${NGX_CONF_FLAGS[@]}" --with-cc="$2" --with-cc-opt=-fPIC \
    --add-dynamic-module="$here" --builddir="$3" >"$3/configure.log" 2>&1 || {
    tail "$3/configure.log" >&2
    exit 1
}
