# SPDX-License-Identifier: BSD-3-Clause
"""A study of sync and async Django, with a pool beside it; README.md says what it is about.

bench_study starts this program in namespaces of its own.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import platform
import signal
import subprocess
import sys
import time

import runs
import stage
import tables


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# ---- one run ----------------------------------------------------------------


def kill_workers(loads):
    """One of the pool's workers every second, in turn, while there is load."""
    kills = 0
    while True:
        for _ in range(20):
            if not all(load.running() for load in loads):
                return kills
            time.sleep(0.05)
        workers = stage.named("mc-worker")
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[kills % len(workers)], signal.SIGKILL)
                kills += 1


def load_of(run, users, effort, programs):
    """Who bring the load, and their command. Bare processes are in the place of the server."""
    if users.bare:
        return "server", stage.bare(programs, 2, users.count, effort.ramp, effort.hold)
    return "load", stage.asking(programs, *runs.ROUTES[users.route], users=users.count,
                                ramp=effort.ramp, hold=effort.hold, pace=users.pace,
                                drain=runs.DRAIN if run.kill else 0)  # fmt: skip


def measure(run, effort, programs):
    server = runs.SERVERS[run.server]
    environment = {"STUDY_DATABASE": stage.NEAR}
    if run.squares:
        environment["STUDY_SQUARES"] = f"{programs}/study_squares.so"
    with (stage.parties() if run.shares else contextlib.nullcontext(False) as shares,
          stage.wire(programs, run.latency) as enter, stage.database(server.connections)):  # fmt: skip
        with (stage.server((*enter, *server.command(programs)), environment) as process,
              contextlib.ExitStack() as begun):  # fmt: skip
            loads = [begun.enter_context(stage.Load(*load_of(run, users, effort, programs)))
                     for users in run.users]  # fmt: skip
            kills = kill_workers(loads) if run.kill else 0
            results = [load.result() for load in loads]
            ended = process.poll()
    return {
        "users": [
            {"route": users.route, "count": users.count, "pace": users.pace, **result}
            for users, result in zip(run.users, results)
        ],
        "shares": shares,
        "kills": kills,
        "ended": ended,  # the server's status, if it did not live until the end
    }


def missing(run, programs):
    """Why a run is left out; None if it is not."""
    if run.server in runs.OURS:
        program = runs.SERVERS[run.server].command(programs)[0]
        if not os.access(program, os.X_OK):
            return f"{os.path.basename(program)} was not built"
    return None


def attempt(run, effort, programs):
    """Its result, or why there is none."""
    problem = missing(run, programs)
    if problem:
        return {"absent": problem}
    try:
        return measure(run, effort, programs)
    except (stage.Failure, subprocess.SubprocessError, OSError) as failure:
        return {"failed": str(failure)}


def middle(turns):
    """The result of the turn with the median of successes, of two the lower one, and those of all;
    of a run that failed once, the failure."""
    for result in turns:
        if "users" not in result:
            return result
    ascending = sorted(turns, key=lambda result: result["users"][0]["successes"])
    return {**ascending[(len(turns) - 1) // 2], "turns": turns}


def measure_all(chosen, effort, turns, programs):
    """All runs, and then all again: what is slow for a while is so for each of them."""
    results, call = {}, time.time()
    try:
        for number in range(turns * len(chosen)):
            run = chosen[number % len(chosen)]
            result = {"call": call, **attempt(run, effort, programs)}
            results.setdefault(run.name, []).append(result)
            say(f"[{number + 1}/{turns * len(chosen)}] {run.name}:",
                tables.summary(result, effort.window))  # fmt: skip
    except KeyboardInterrupt:
        say("interrupted: this is what there is so far")
    return {name: middle(each) for name, each in results.items()}


# ---- all of them ------------------------------------------------------------


def machine(programs):
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        models = [line.split(":")[1].strip() for line in text if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "date": time.strftime("%Y-%m-%d"),
        "load_average": os.getloadavg()[0],
        "speedup": stage.speedup(programs),
    }


def draw(program, directory):
    """study.svg and study.png, and the program that drew them."""
    if program is None:
        return
    with open(f"{directory}/study.gnuplot", "w", encoding="utf-8") as file:
        file.write(program)
    try:
        subprocess.run(["gnuplot", "study.gnuplot"], cwd=directory, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"there is no chart: {error}")


def prepare_directory(directory):
    """Before the runs: they take an hour, and their report is to have a place."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        sys.exit(f"bench_study: no report can be written to '{directory}' ({error.strerror}); "
                 "give another --out")  # fmt: skip


def write_report(report, directory):
    with open(f"{directory}/study.json", "w", encoding="utf-8") as file:
        json.dump(report, file)
    text = tables.markdown(report)
    with open(f"{directory}/study.md", "w", encoding="utf-8") as file:
        file.write(text)
    draw(tables.chart(report), directory)
    print(text)


def choose(everything, patterns):
    for pattern in patterns:
        if not fnmatch.filter([run.name for run in everything], pattern):
            sys.exit(f"bench_study: no run is named '{pattern}'; --list names them")
    if not patterns:
        return everything
    return [run for run in everything
            if any(fnmatch.fnmatch(run.name, pattern) for pattern in patterns)]  # fmt: skip


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"give a number from 1, not '{text}'")
    return int(text)


def read_arguments():
    parser = argparse.ArgumentParser(prog="bench_study", description=__doc__.split(";")[0])
    parser.add_argument("--programs", help=argparse.SUPPRESS, required=True)
    parser.add_argument("--quick", action="store_true",
                        help="a few runs of 2 s: shows that it works, the figures mean little")  # fmt: skip
    parser.add_argument("--only", metavar="NAME,...", default="",
                        help="only these runs; a name may have * in it")  # fmt: skip
    parser.add_argument("--turns", metavar="N", type=positive, default=1,
                        help="each run so often, by turns; the report has medians (1)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="the names of all runs")
    parser.add_argument("--out", metavar="DIR", default="out/study",
                        help="where the report is written (out/study)")  # fmt: skip
    parser.add_argument("--keep", action="store_true",
                        help="what is not run now is as it was in DIR/study.json")  # fmt: skip
    return parser.parse_args()


def earlier(directory):
    """The report that an earlier call left there; None if there is none."""
    try:
        with open(f"{directory}/study.json", encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def study(chosen, effort, turns, programs):
    stage.set_up()
    say(f"a table of {stage.ROWS:,} posts, then {turns * len(chosen)} runs")
    stage.seed()
    return {"machine": machine(programs), "ramp": effort.ramp, "hold": effort.hold,
            "window": effort.window, "latencies": effort.latencies,
            "runs": measure_all(chosen, effort, turns, programs)}  # fmt: skip


def main():
    arguments = read_arguments()
    effort = runs.QUICK if arguments.quick else runs.FULL
    patterns = [pattern for pattern in arguments.only.split(",") if pattern]
    chosen = choose(list(runs.all_runs(effort)), patterns)
    if arguments.list:
        print("\n".join(run.name for run in chosen))
        return 0
    prepare_directory(arguments.out)
    before = earlier(arguments.out) if arguments.keep else None
    if before and (before["ramp"], before["hold"]) != (effort.ramp, effort.hold):
        sys.exit(f"bench_study: {arguments.out}/study.json is of runs of another length; "
                 "leave out --keep, or give another --out")  # fmt: skip
    report = study(chosen, effort, arguments.turns, arguments.programs)
    if before:
        report["runs"] = {**before["runs"], **report["runs"]}
    write_report(report, arguments.out)
    return 1 if any("failed" in result for result in report["runs"].values()) else 0


if __name__ == "__main__":
    # Also where it was started in the background, or is the first process of its namespace.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except stage.Failure as problem:
        sys.exit(f"bench_study: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
