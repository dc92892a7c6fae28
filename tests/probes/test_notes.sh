#!/usr/bin/env bash
# test_notes.sh PROBED FILE...: each file has the five probes of docs/TRACING.md and
# no others; their arguments have the sizes given there; each is one nop, and has no
# semaphore, which the code would have to look at.
set -euo pipefail

probed=$1
shift
if [[ $probed != ON ]]; then
    echo "SKIPPED: built without probes; install systemtap-sdt-dev, and give MULTICORE_PROBES=ON"
    exit 77
fi

fail() { echo "FAILED: $*" >&2; exit 1; }

# A line for each place: name, address, semaphore, sizes of the arguments in bytes,
# with - for those that are signed.
places() {
    LC_ALL=C readelf -nW "$1" | awk '
        /Provider:/ {provider = $NF}
        /Name:/ {name = $2}
        /Location:/ {address = $2; semaphore = $6; sub(",", "", address)}
        /Arguments:/ && provider == "multicore" {
            sizes = ""
            for (i = 2; i <= NF; i++) # an operand may have spaces in it
                if ($i ~ /^-?[1248]@[-$%[(0-9a-z]/) {
                    sub("@.*", "", $i)
                    sizes = sizes " " $i
                }
            print name, address, semaphore sizes
        }'
}

# is_nop FILE ADDRESS
is_nop() {
    LC_ALL=C objdump -d --start-address="$2" --stop-address="$(($2 + 4))" "$1" |
        grep -m1 "^ *$(printf %x "$2"):" | grep -qE $'\tnop *$'
}

expected='admit 1 1 4 4 4
claim 8 8 8 4
done 8 -4 8 4
submit 8 4 2 4 8 8
wake 4 8'

for file; do
    places=$(places "$file")
    found=$(cut -d' ' -f1,4- <<<"$places" | sort -u)
    [[ $found == "$expected" ]] ||
        fail "$file has other probes than it should: $(diff -U0 <(echo "$expected") <(echo "$found"))"
    while read -r name address semaphore _; do
        ((semaphore == 0)) || fail "probe $name of $file has a semaphore at $semaphore"
        is_nop "$file" "$address" || fail "probe $name of $file at $address is not a nop"
    done <<<"$places"
    echo "$file: $(wc -l <<<"$places") places of 5 probes"
done
