#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# test_page.sh WEB NODE CHROMIUM MAKE_PDF BROWSER [PDF PAGES SCREENSHOTS] - the web demo's page
# in a browser. BROWSER is where ./dev deps web puts playwright-core.
set -u

web=$1 node=$2 chromium=$3 make_pdf=$4 browser=$5
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d /tmp/multicore-page-XXXXXX) || exit 1
web_pid=

if [[ ! -d $browser/node_modules/playwright-core ]]; then
    echo "skipped: there is no playwright-core in $browser; ./dev deps web installs it"
    rmdir "$work"
    exit 77
fi

clean_up() {
    [[ -n $web_pid ]] && kill -TERM "$web_pid" && wait "$web_pid"
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

"$make_pdf" "$work/some.pdf" 40 >/dev/null || exit 1
"$web" --listen 127.0.0.1:0 >"$work/out" &
web_pid=$!
for ((i = 0; i < 500; i++)); do
    grep -q listening "$work/out" && break
    sleep 0.02
done
HOME=$work NODE_PATH=$browser/node_modules "$node" "$here/test_page.js" \
    "http://$(sed -n 's/^listening on //p' "$work/out")/" "$chromium" \
    "$work/profile" "${6:-$work/some.pdf}" "${7:-40}" "${8:-}"
