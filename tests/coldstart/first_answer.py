#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Starts a web server at a Unix socket, asks it for a path, and ends it.

first_answer.py (--budget TIME | --cpu-budget TIME) SOCKET PATH COMMAND...

The first budget is for the time from the server's first instruction to its answer, the second
for the CPU time of all of its processes, from the first to the last. Ends with 1 when it took
more, or was another answer than 200, and with the command's own status when that does not serve.
"""

import argparse
import contextlib
import ctypes
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

PATIENCE_SECONDS = 60
PR_SET_CHILD_SUBREAPER = 36


def milliseconds(text):
    found = re.fullmatch(r"(\d+)(ms|s)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text}: give a time such as 500ms or 3s")
    return int(found[1]) * (1000 if found[2] == "s" else 1)


def read_arguments():
    parser = argparse.ArgumentParser()
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--budget", type=milliseconds)
    budget.add_argument("--cpu-budget", type=milliseconds)
    parser.add_argument("socket")
    parser.add_argument("path")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def ask(place, path):
    """Returns the status line, and the process that listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = connection.recv(4096)
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return answer.split(b"\r\n")[0].decode(), struct.unpack("3i", peer)[0]


def age(pid):
    """Milliseconds since the kernel made the process, to the next ten."""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return 1000 * (now - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


def cpu_of_the_dead():
    """Milliseconds of our children, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def measure(server, arguments):
    """Returns the status line, the time until it came, and the CPU time until all have ended."""
    before = cpu_of_the_dead()  # of whoever became this process
    status, pid = ask(arguments.socket, arguments.path)
    took = age(pid)
    os.kill(pid, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # the pool's processes are orphans then, and ours
    server.returncode = 0
    return status, took, cpu_of_the_dead() - before


def main():
    arguments = read_arguments()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(PATIENCE_SECONDS)
    server = subprocess.Popen([*arguments.command, "--unix", arguments.socket],
                              stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
    try:
        if not server.stdout.readline().startswith(b"listening"):
            return server.wait() or 1
        status, took, cpu = measure(server, arguments)
    except KeyboardInterrupt:
        print(f"first answer: none within {PATIENCE_SECONDS} s, or interrupted", file=sys.stderr)
        return 1
    finally:
        if server.returncode is None:
            os.killpg(server.pid, signal.SIGKILL)
    what, used, budget = ("after", took, arguments.budget)
    if arguments.cpu_budget:
        what, used, budget = ("for CPU time of", cpu, arguments.cpu_budget)
    print(f"first answer: {status}, {what} {used:.0f} ms; the budget is {budget} ms")
    return 0 if " 200 " in status and used <= budget else 1


if __name__ == "__main__":
    sys.exit(main())
