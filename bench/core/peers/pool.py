# SPDX-License-Identifier: BSD-3-Clause
"""Python's two process pools: pool.py pool|ppe SAMPLES CPU CPU

Prints lines "FIGURE VALUE". Unless the figure's name says otherwise, the caller runs
on the first CPU and one worker on each, as in the other round trips. What imports cost
is not counted.
"""

import concurrent.futures
import multiprocessing
import os
import sys
import time

WARM_UP = 50


def null():
    pass


def total(start):
    return sum(range(start, start + 500))


def pin(cpus):
    os.sched_setaffinity(0, {cpus.get()})


def spread(cpus):
    queue = multiprocessing.SimpleQueue()
    for cpu in cpus:
        queue.put(cpu)
    return {"initializer": pin, "initargs": (queue,)}


def time_calls(figure, samples, call):
    for _ in range(WARM_UP):
        call()
    for _ in range(samples):
        began = time.perf_counter_ns()
        call()
        print(figure, time.perf_counter_ns() - began)


def measure_pool(samples, cpus):
    began = time.perf_counter_ns()
    with multiprocessing.Pool(2) as pool:
        next(pool.imap(total, (0, 500)))
        ended = time.perf_counter_ns()
        print("python_pool_startup_first_result", (ended - began) / 1e6)
        time_calls("python_pool_apply_unpinned", samples, lambda: pool.apply(null))
    os.sched_setaffinity(0, {cpus[0]})
    with multiprocessing.Pool(2, **spread(cpus)) as pool:
        time_calls("python_pool_apply", samples, lambda: pool.apply(null))


def measure_ppe(samples, cpus):
    os.sched_setaffinity(0, {cpus[0]})
    with concurrent.futures.ProcessPoolExecutor(2, **spread(cpus)) as pool:
        time_calls("python_ppe", samples, lambda: pool.submit(null).result())


if __name__ == "__main__":
    measures = {"pool": measure_pool, "ppe": measure_ppe}
    measures[sys.argv[1]](int(sys.argv[2]), [int(cpu) for cpu in sys.argv[3:5]])
