# SPDX-License-Identifier: BSD-3-Clause
"""The work of the cpu route without a server: bare.py LIBRARY PROCESSES USERS RAMP HOLD

Each process computes one sum after the other. Prints what study_load does of users in a closed
loop who are served in the order in which they came: one waits for as many sums as there are users.
They all come at once, but times are those of who came after RAMP seconds, as study_load's are.
"""

import collections
import ctypes
import itertools
import json
import multiprocessing
import sys
import time

COUNT = 10**7  # of the squares in a sum


def compute(library, end):
    """When each sum was ready."""
    function, halves = ctypes.CDLL(library).study_sum_of_squares, (ctypes.c_uint64 * 2)()
    ready = []
    while time.monotonic() < end:
        function(ctypes.c_uint64(COUNT), halves)
        ready.append(time.monotonic())
    return ready


def waits(ready, users, began, ramp):
    """How long answers took, in milliseconds; in ascending order."""
    return sorted(1000 * (end - start) for start, end in zip([began] * users + ready, ready)
                  if start >= began + ramp)  # fmt: skip


def percentile(ascending, percent):
    return ascending[(len(ascending) - 1) * percent // 100] if ascending else None


def report(ready, users, began, ramp):
    took = waits(ready, users, began, ramp)
    seconds = collections.Counter(int(time - began) for time in ready)
    return {"successes": len(ready), "seconds": [seconds[i] for i in range(max(seconds, default=-1) + 1)],
            "statuses": {"200": len(ready)}, "lost": {}, "open": 0,
            "ms": {"p50": percentile(took, 50), "p99": percentile(took, 99),
                   "max": percentile(took, 100)}}  # fmt: skip


def main():
    library, processes, users = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ramp, hold = float(sys.argv[4]), float(sys.argv[5])
    began = time.monotonic()
    work = (library, began + ramp + hold)
    with multiprocessing.Pool(processes) as pool:
        ready = sorted(itertools.chain(*pool.starmap(compute, [work] * processes, 1)))
    print(json.dumps(report(ready, users, began, ramp)))


if __name__ == "__main__":
    main()
