# SPDX-License-Identifier: BSD-3-Clause
"""How Python's process pools start: startup.py fork|forkserver|replace SAMPLES

Prints lines "FIGURE VALUE". What imports cost is not counted. A set-up takes 50 ms, and 1 s
for replace: with fork it is made once before, with forkserver in each worker, since
there is nobody to inherit it from.
"""

import concurrent.futures
import multiprocessing
import os
import sys
import time

COST_S, REPLACE_COST_S = 0.05, 1.0


def total(start):
    return sum(range(start, start + 500))


def report(figure, began):
    print(figure, (time.perf_counter_ns() - began) / 1e6, flush=True)


def first_result(method):
    context = multiprocessing.get_context(method)
    inherits = method == "fork"
    hook = {} if inherits else {"initializer": time.sleep, "initargs": (COST_S,)}
    began = time.perf_counter_ns()
    if inherits:
        time.sleep(COST_S)
    with context.Pool(2, **hook) as pool:
        next(pool.imap(total, (0, 500)))
        report(f"python_pool_{method}", began)
    began = time.perf_counter_ns()
    if inherits:
        time.sleep(COST_S)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context, **hook) as pool:
        pool.submit(total, 0).result()
        report(f"python_ppe_{method}", began)


def replace():
    # One that is killed while it waits for work holds the lock of the queue, and its pool
    # never answers again. So this one leaves by itself, after a task.
    hook = {"initializer": time.sleep, "initargs": (REPLACE_COST_S,), "maxtasksperchild": 1}
    with multiprocessing.Pool(1, **hook) as pool:
        pool.apply(os.getpid)
        began = time.perf_counter_ns()
        pool.apply(os.getpid)
        report("python_pool_replace", began)


if __name__ == "__main__":
    for _ in range(int(sys.argv[2])):
        if sys.argv[1] == "replace":
            replace()
        else:
            first_result(sys.argv[1])
