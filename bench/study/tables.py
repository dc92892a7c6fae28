# SPDX-License-Identifier: BSD-3-Clause
"""What the results say, as Markdown and as a chart. Pure: a report in, text out."""

import collections
import itertools
import statistics

import runs

# The study's figures: most successful requests per second, and all successes in its 180 s.
PUBLISHED_SERVERS = ("django_sync", "django_async_limited", "django_async_unlimited")
PUBLISHED = {
    "cpu": {
        0: ((1.5, 255), (0.1, 24), (3.3, 91)),
        100: ((1.5, 255), (0.2, 30), (1.3, 97)),
        200: ((1.5, 200), (0.5, 86), (2.7, 90)),
    },
    "io_read": {
        0: ((23.0, 3927), (28.3, 3053), (34.1, 4680)),
        100: ((1.2, 200), (28.6, 4555), (36, 5313)),
        200: ((0.6, 105), (28.4, 4312), (34.2, 5123)),
    },
    "io_create": {
        0: ((143.6, 24328), (188.8, 11325), (187.5, 20163)),
        100: ((1.4, 242), (129.0, 12963), (171.4, 26145)),
        200: ((0.7, 124), (82.6, 8644), (185, 23030)),
    },
}
TITLES = {
    "cpu": "CPU-bound",
    "io_read": "I/O-bound, reading",
    "io_create": "I/O-bound, creating",
}
# Ways out of the server that a request waits for: its answer, and a query of a connection
# that is open.
DELAYS = {"cpu": 1, "io_read": 2, "io_create": 2}

TIE = 0.05  # figures of two runs that differ by less are called equal


# ---- figures ----------------------------------------------------------------


def most_per_second(seconds, window):
    """The most successes per second over any so many seconds in a row."""
    sums = [sum(seconds[i : i + window]) for i in range(max(1, len(seconds) - window + 1))]
    return max(sums) / window


def failures(users):
    """How often a request had another status than 2xx, or no answer, by name."""
    named = {f"status {status}": count for status, count in users["statuses"].items()
             if not status.startswith("2")}  # fmt: skip
    return {**named, **users["lost"]}


def added_up(counts):
    """Counts by name, of all of them."""
    return sum(map(collections.Counter, counts), collections.Counter())


def find(report, name):
    """The results of a run's users; None when there are none."""
    return report["runs"].get(name, {}).get("users")


def turns(report, name):
    """The results of a run, of which the report has the middle one."""
    result = report["runs"].get(name, {})
    return result.get("turns", [result] if "users" in result else [])


def side_by_side(report, names):
    """For each turn, who came first in each of these runs. Where an earlier call's are among them,
    no turn of one is beside a turn of another: the middle ones then."""
    each = [turns(report, name) for name in names]
    if len({result.get("call") for results in each for result in results}) > 1:
        each = [[report["runs"][name]] if results else [] for name, results in zip(names, each)]
    return list(zip(*([result["users"][0] for result in results] for results in each)))


middle = statistics.median


def spread(values):
    """Of what was measured more than once."""
    return f", {min(values):.2f} to {max(values):.2f} in {len(values)} turns" if len(values) > 1 else ""


def held(report, users):
    """Successes per second while all users were there."""
    first = int(report["ramp"] + 0.999)
    last = int(report["ramp"] + report["hold"])
    return sum(users["seconds"][first:last]) / max(1, last - first)


def number(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def milliseconds(value):
    return "–" if value is None else f"{number(value)} ms"


def cell(users, window):
    """As in the study, and how many failed."""
    text = f"{number(most_per_second(users['seconds'], window))} & {users['successes']:,}"
    failed = sum(failures(users).values())
    return f"{text} ({failed:,} failed)" if failed else text


def summary(result, window):
    """A line; also of a run that has no users because it failed."""
    if "users" not in result:
        return result.get("absent") or result["failed"]
    return ", ".join(f"{users['route']} {cell(users, window)}" for users in result["users"])


def row(cells):
    return f"| {' | '.join(str(text) for text in cells)} |"


def table(head, rows):
    return "\n".join([row(head), row(["---"] * len(head)), *(row(cells) for cells in rows)])


# ---- the study's tables -----------------------------------------------------


def ceiling(route, latency):
    """What users of a closed loop can get at the most."""
    if latency == 0:
        return ""
    return number(runs.USERS * 1000 / (latency * DELAYS[route]))


def study_rows(report, route):
    for latency in report["latencies"]:
        results = [find(report, runs.cell(route, latency, server)) for server in runs.SERVERS]
        cells = [cell(users[0], report["window"]) if users else "" for users in results]
        yield [latency, *cells, ceiling(route, latency)]
    for latency, published in PUBLISHED[route].items():
        cells = [f"*{number(most)} & {total:,}*" for most, total in published]
        yield [f"*{latency}, the study*", *cells, *[""] * (len(runs.OURS) + 1)]


def study_tables(report):
    head = ["added latency (ms)", *(server.title for server in runs.SERVERS.values()),
            "a closed loop allows"]  # fmt: skip
    for place, route in enumerate(TITLES, 1):
        title = f"**Table {place}: {TITLES[route]}** (`{route}`)."
        yield f"{title}\n\n{table(head, study_rows(report, route))}"


# ---- further tables ---------------------------------------------------------


def equal_work(report):
    names = [("Django sync, in Python", "cpu/0/django_sync"),
             ("Django sync, calling C", "cpu_in_c/django_sync"),
             ("Django async unlimited, calling C", "cpu_in_c/django_async_unlimited"),
             *((server, f"cpu/0/{server}") for server in runs.OURS)]  # fmt: skip
    if not any(find(report, name) for _, name in names[1:3]):
        return
    for title, name in names:
        users = find(report, name)
        if users:
            yield [title, cell(users[0], report["window"])]


def paced(report):
    for route in ("io_read", "io_create"):
        results = [find(report, f"paced/{route}/{latency}") for latency in (0, 200)]
        if all(results):
            rates = [held(report, users[0]) for users in results]
            change = f"{100 * (rates[1] / rates[0] - 1):+.1f} %" if rates[0] else "–"
            yield [route, *(number(rate) for rate in rates), change]


def neighbours(report):
    titles = {name: server.title for name, server in runs.SERVERS.items()}
    for server, title in {**titles, "bare": "two bare processes"}.items():
        alone, mixed = find(report, f"alone/{server}"), find(report, f"mixed/{server}")
        if alone and mixed:
            rates = [held(report, users[0]) for users in (alone, mixed)]
            others = [f"{held(report, users):.1f}/s" for users in mixed[1:]]
            yield [title, *(number(rate) for rate in rates),
                   milliseconds(alone[0]["ms"]["p99"]), milliseconds(mixed[0]["ms"]["p99"]),
                   *others]  # fmt: skip


def divided(report):
    every = [result for name, result in report["runs"].items()
             if name.startswith(("alone/", "mixed/")) and "users" in result]  # fmt: skip
    if all(result.get("shares") for result in every):
        return "Server, database and load have a cgroup each, all of the same weight."
    return ("**There were no cgroups to divide the CPUs**: how much is left to the server depends on "
            "how many connections of the database are busy.")  # fmt: skip


def kills(report):
    for route in runs.ROUTES:
        results = turns(report, f"kill/{route}")
        if results:
            each = [result["users"][0] for result in results]
            other = {name: count for name, count in added_up(map(failures, each)).items()
                     if name.startswith("status")}  # fmt: skip
            yield [route, sum(result["kills"] for result in results),
                   f"{sum(users['successes'] for users in each):,}", named(other),
                   sum(map(lost, each))]  # fmt: skip


def lost(users):
    """Requests that never got an answer; the run waited for those that were open."""
    return sum(users["lost"].values()) + users["open"]


def named(counts):
    return ", ".join(f"{name}: {count:,}" for name, count in counts.items()) or "none"


def further_tables(report):
    sections = [
        ("**Table 4: the cpu route with the same loop.** Ours runs the sum in C, and Django's in "
         "Python as in the study, which takes some fifty times as long. Here Django "
         "calls the same loop in C; 0 ms.",
         ["server", "max successful/s & successes"], equal_work(report)),
        (f"**Table 5: what latency costs, at a stated pace.** Pool mode; each of {runs.USERS} users "
         f"begins a request at most every {runs.PACE:g} s, so that latency alone does not lower what "
         "they ask for, as it does in a closed loop. Successes per second while all are there.",
         ["route", "0 ms", "200 ms", "change"], paced(report)),
        (f"**Table 6: the cpu route beside I/O.** {runs.CPU_USERS.count} users of `cpu` in a closed "
         "loop; then the same with "
         + " and ".join(f"{users.count} of `{users.route}`" for users in runs.IO_USERS)
         + f", each at most every {runs.PACE:g} s. The bare processes do the work of the cpu route "
         f"without a server, in its place and beside the same I/O. {divided(report)}",
         ["server", "cpu/s alone", "cpu/s beside I/O", "p99 alone", "p99 beside I/O",
          *(users.route for users in runs.IO_USERS)], neighbours(report)),
        (f"**Table 7: a worker of the pool is killed every second.** {runs.KILL_USERS} users, who "
         f"have {runs.DRAIN} s for what is open at the end. Lost is what has no answer.",
         ["route", "kills", "successes", "other answers", "lost"], kills(report)),
    ]  # fmt: skip
    for title, head, rows in sections:
        rows = list(rows)
        if rows:
            yield f"{title}\n\n{table(head, rows)}"


# ---- goals ------------------------------------------------------------------


def verdict(met, text):
    return f"- {'met' if met else '**missed**'}: {text}"


def latency_goals(report):
    for route in ("io_read", "io_create"):
        each = side_by_side(report, [f"paced/{route}/{latency}" for latency in (0, 200)])
        ratios = [held(report, late) / held(report, near) for near, late in each if held(report, near)]
        if each:
            left = middle(ratios or [0])
            yield verdict(left > 0.9, f"`{route}` loses less than 10 % from 0 to 200 ms, at a pace of "
                          f"{runs.PACE:g} s ({left:.2f} are left{spread(ratios)})")  # fmt: skip


def cpu_goal(report):
    ratios = []
    for each in side_by_side(report, [runs.cell("cpu", 0, server) for server in runs.OURS]):
        *single, pool = (held(report, users) for users in each)
        if max(single) > 0:
            ratios.append(pool / max(single))
    if ratios:
        yield verdict(middle(ratios) >= 1.9, "`cpu` at 0 ms: the pool has at least 1.9 times the "
                      f"best mode of one process ({middle(ratios):.2f}{spread(ratios)}; the machine "
                      f"itself gave {report['machine']['speedup']:.2f})")  # fmt: skip


def fair_share_goal(report):
    """A closed loop's mean time is its users over its rate. So the tail may grow as the rate falls,
    for want of CPU, and no more."""
    shares, ratios = [], []
    for each in side_by_side(report, ["alone/pool", "mixed/pool"]):
        rates, tails = [held(report, users) for users in each], [users["ms"]["p99"] for users in each]
        if all(rates) and all(tails):
            shares.append(rates[1] / rates[0])
            ratios.append(tails[1] / tails[0] * min(1, shares[-1]))
    if ratios:
        yield verdict(middle(ratios) <= 1.2, "`cpu` beside I/O: the p99 grows no more than its share "
                      f"of the CPUs falls, and 20 % (it is {middle(ratios):.2f} times what that allows"
                      f"{spread(ratios)}; the share is {100 * middle(shares):.0f} % of that alone)")  # fmt: skip


def tail_goal(report):
    """Beside I/O a request takes longer, as everything does, and how much longer varies with what
    the database does just then. Both are so for bare processes as well."""
    tails = []
    for pool, bare in side_by_side(report, ["mixed/pool", "mixed/bare"]):
        times = [users["ms"] for users in (pool, bare)]
        if all(ms["p50"] for ms in times):
            tails.append([ms["p99"] / ms["p50"] for ms in times])
    if tails:
        ours, theirs = (middle(values) for values in zip(*tails))
        ratios = [pool / bare for pool, bare in tails]
        yield verdict(middle(ratios) <= 1.2, "`cpu` beside I/O: the p99 is no further from the median "
                      "than where bare processes compute instead, and 20 % "
                      f"({ours:.2f} and {theirs:.2f} times the median: {middle(ratios):.2f}"
                      f"{spread(ratios)})")  # fmt: skip


def behind(report):
    """What the pool has of another server's successes, for each cell of those."""
    others = [server for server in runs.SERVERS if server != "pool"]
    for route, latency, server in itertools.product(TITLES, report["latencies"], others):
        names = [runs.cell(route, latency, name) for name in ("pool", server)]
        ratios = [(pool["successes"] + 1) / (other["successes"] + 1)
                  for pool, other in side_by_side(report, names)]  # fmt: skip
        if ratios:
            yield names[1], middle(ratios)


def every_cell_goal(report):
    ratios = dict(behind(report))
    worse = {name: ratio for name, ratio in ratios.items() if ratio < 1 - TIE}
    if ratios:
        listed = "".join(f"; {ratio:.2f} of {name}" for name, ratio in worse.items())
        yield verdict(not worse, "the pool has at least the successes of each other server in each "
                      f"cell; {100 * TIE:g} % less is within the noise ({len(ratios) - len(worse)} "
                      f"of {len(ratios)} comparisons{listed})")  # fmt: skip


def kill_goal(report):
    rows = list(kills(report))
    if rows:
        count = sum(cells[-1] for cells in rows)
        spared = "".join(f"; no worker of `{cells[0]}` was killed" for cells in rows if cells[1] == 0)
        yield verdict(count == 0 and not spared, "no request is lost when a worker is killed every "
                      f"second ({count}{spared})")  # fmt: skip


def goals(report):
    parts = (latency_goals, cpu_goal, fair_share_goal, tail_goal, every_cell_goal, kill_goal)
    return [line for part in parts for line in part(report)]


# ---- the report -------------------------------------------------------------

DIFFERENCES = """\
- One machine for all, without containers: server, database and load share its cores, and
  the server has a network namespace of its own. Processes are not pinned. In table 6 each party has
  a cgroup, of the same weight; elsewhere all have what the kernel gives to processes and sessions.
- Latency is added to all that leaves the server, to users and to the database, as in the study,
  but by a program that holds packets back (`study_wire`) instead of netem.
- Shorter: the study took 100 s for the ramp and 80 s at 500 users. Totals are of other
  lengths, and can only be compared within a column of this report. The maximum is that of the best
  window, in the study of what Locust drew.
- The load is a program in C (`study_load`) instead of Locust; a user who has no answer at all rests
  100 ms. Requests that are open at the end are neither successes nor failures, as in the study.
- Django 3.2 of Debian instead of 4.1. Its async server is given a thread for each request,
  as 4.x does by itself. No middleware.
- PostgreSQL keeps its files in memory, so no disk limits it. Each run begins with the same table.
- Our servers keep their connections to the database open, Django opens one for each request.
  The database of ours allows 1,000 connections, of which they use 256, 64 of them
  for reading; that of Django sync 100, as with the limited one.
- Our cpu route is in C, Django's in Python (table 4 has both in C). Ours reads the page and the count in
  one statement, Django in two."""


def notes(report):
    """What is missing, what failed and how, and servers that did not live."""
    for name, result in report["runs"].items():
        for word in ("absent", "failed"):
            if word in result:
                lines = result[word].splitlines()
                yield f"- `{name}`: {word}: {'; '.join(dict.fromkeys((lines[0], lines[-1])))}"
        each = turns(report, name)
        for users in zip(*(turn["users"] for turn in each)):
            failed = added_up(map(failures, users))
            if failed:
                yield f"- `{name}`, {users[0]['route']}: {named(failed)}"
        for turn in each:
            if turn["ended"] is not None:
                yield f"- `{name}`: the server ended by itself, with status {turn['ended']}"


def spreads(report):
    """What each turn of a run had, where there are several."""
    for name in report["runs"]:
        each = turns(report, name)
        if len(each) > 1:
            yield f"- `{name}`: {'; '.join(summary(turn, report['window']) for turn in each)}"


def heading(report):
    machine = report["machine"]
    return (
        f"{machine['cores']} cores ({machine['cpu']}), Linux {machine['kernel']}, {machine['date']}. "
        f"Before the runs the load average was {machine['load_average']:.1f}, and two processes "
        f"computed {machine['speedup']:.2f} times what one did. "
        f"{runs.USERS} users, in a closed loop where no pace is given: all are there after "
        f"{report['ramp']:g} s and stay for {report['hold']:g} s. In a cell: the most successful "
        f"requests per second over {report['window']} s & successes in all. Of a run of several turns "
        "it is the one with the median of successes."
    )


def markdown(report):
    parts = ["# Sync, async, or a pool", heading(report), *study_tables(report),
             *further_tables(report)]  # fmt: skip
    for title, lines in (("Goals", goals(report)), ("Failures", list(notes(report))),
                         ("Turns", list(spreads(report)))):  # fmt: skip
        if lines:
            parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join([*parts, "## What differs from the study", DIFFERENCES]) + "\n"


# ---- the chart --------------------------------------------------------------

PANEL = """\
set title "{title}"
plot {plots}
"""
CHART = """\
{data}
set style data linespoints
set logscale y
set yrange [0.05:*]
set xrange [-20:220]
set xtics (0, 100, 200)
set xlabel "added latency (ms)"
set ylabel "most successful requests per second"
set grid
set bmargin 6
set key at screen 0.5, screen 0.05 center maxrows 2 samplen 2 width -3
do for [format in "svg png"] {{
    if (format eq "svg") {{ set terminal svg size 1200,480 background "white" }}
    if (format eq "png") {{ set terminal pngcairo size 1200,480 }}
    set output "study.".format
    set multiplot layout 1,3
{panels}    unset multiplot
    unset output
}}
"""


def points(report, route, server):
    """Lines "latency rate". A rate of 0 has no place on a logarithmic axis."""
    for latency in report["latencies"]:
        users = find(report, runs.cell(route, latency, server))
        rate = most_per_second(users[0]["seconds"], report["window"]) if users else 0
        if rate > 0:
            yield f"{latency} {rate}"


def chart(report):
    """A program for gnuplot; None when there is nothing to draw."""
    data, panels = [], []
    key = ", ".join(f"NaN title '{server.title}' linetype {place}"
                    for place, server in enumerate(runs.SERVERS.values(), 1))  # fmt: skip
    for route, title in TITLES.items():
        plots = []
        for place, server in enumerate(runs.SERVERS, 1):
            lines = "\n".join(points(report, route, server))
            if lines:
                data.append(f"${route}_{server} << end\n{lines}\nend")
                plots.append(f"${route}_{server} using 1:2 notitle "
                             f"linetype {place} pointtype 7")  # fmt: skip
        if plots:
            plots += [key] if not panels else []  # one for all
            panels.append(PANEL.format(title=title, plots=", ".join(plots)))
    return CHART.format(data="\n".join(data), panels="".join(panels)) if panels else None
