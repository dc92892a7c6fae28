# SPDX-License-Identifier: BSD-3-Clause
"""What is measured: six servers, three routes, three latencies, and what else the report says."""

import dataclasses
import sys

from stage import FAR, HERE, NEAR, PORT

USERS = 500

ROUTES = {
    "cpu": ("GET", "/posts/cpu/", ()),
    "io_read": ("GET", "/posts/io_read/", ()),
    "io_create": (
        "POST",
        "/posts/io_create/",
        ('{"title": "A post", "content": "%s"}' % ("All work and no play. " * 5),),
    ),
}


# ---- servers ----------------------------------------------------------------


def gunicorn(programs, application, *options):
    return (sys.executable, "-B", "-m", "gunicorn", "--workers=1", f"--bind={FAR}:{PORT}",
            "--log-level=error", f"--chdir={HERE}", *options, application)  # fmt: skip


def django_sync(programs):
    return gunicorn(programs, "django_posts:wsgi")


def django_async(programs):
    return gunicorn(programs, "django_posts:asgi", "--worker-class=uvicorn.workers.UvicornWorker")


def web(mode, *options):
    """Ours. A request may take as long as Django's, which have no limit."""

    def command(programs):
        return (f"{programs}/../demo/web/web", f"--mode={mode}", f"--listen={FAR}:{PORT}",
                f"--database=host={NEAR} user=study dbname=study", *options)  # fmt: skip

    return command


@dataclasses.dataclass(frozen=True)
class Server:
    title: str
    command: object  # a function of the directory of programs
    connections: int  # that the database allows


SERVERS = {
    "django_sync": Server("Django sync", django_sync, 100),
    "django_async_limited": Server("Django async limited", django_async, 100),
    "django_async_unlimited": Server("Django async unlimited", django_async, 1000),
    "sync": Server("sync", web("sync"), 1000),
    "async": Server("async", web("async", "--connections=256"), 1000),
    "pool": Server("pool", web("pool", "--connections=256"), 1000),
}
OURS = ("sync", "async", "pool")


# ---- runs -------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Users:
    """Who load the server at the same time: count users of a route."""

    route: str
    count: int = USERS
    pace: float = 0  # seconds that a user's request takes at least; 0: a closed loop
    bare: bool = False  # it is not the server that does their work, but two processes without one


@dataclasses.dataclass(frozen=True)
class Run:
    """Has one result for each of its users."""

    name: str
    server: str
    latency: int  # ms
    users: tuple
    kill: bool = False  # a worker every second
    shares: bool = False  # of the CPUs: server, database and load have a cgroup each
    squares: bool = False  # Django's cpu route calls C


@dataclasses.dataclass(frozen=True)
class Effort:
    ramp: float  # seconds until all users are there
    hold: float  # seconds from then on
    window: int  # seconds over which the most successful requests are counted
    latencies: tuple
    servers: tuple  # of the study's tables
    neighbours: tuple  # servers whose cpu route is measured beside I/O


FULL = Effort(5, 10, 5, (0, 100, 200), tuple(SERVERS), ("django_async_unlimited", *OURS))
QUICK = Effort(0.5, 1.5, 1, (0, 200), ("django_async_unlimited", *OURS), ("pool",))

PACE = 1.0
CPU_USERS = Users("cpu", 20)
BARE = dataclasses.replace(CPU_USERS, bare=True)
IO_USERS = (Users("io_create", 100, PACE), Users("io_read", 10, PACE))
KILL_USERS = 100
DRAIN = 35  # seconds, for the open requests of a run with kills: by then each has had its 30


def cell(route, latency, server):
    """The name of a cell of the study's tables."""
    return f"{route}/{latency}/{server}"


def all_runs(effort):
    for route in ROUTES:
        for latency in effort.latencies:
            for server in effort.servers:
                yield Run(cell(route, latency, server), server, latency, (Users(route),))
    for server in ("django_sync", "django_async_unlimited"):
        yield Run(f"cpu_in_c/{server}", server, 0, (Users("cpu"),), squares=True)
    for route in ("io_read", "io_create"):
        for latency in (0, 200):
            users = (Users(route, USERS, PACE),)
            yield Run(f"paced/{route}/{latency}", "pool", latency, users)
    for server in effort.neighbours:
        yield Run(f"alone/{server}", server, 0, (CPU_USERS,), shares=True)
        yield Run(f"mixed/{server}", server, 0, (CPU_USERS, *IO_USERS), shares=True)
    yield Run("alone/bare", "pool", 0, (BARE,), shares=True)
    yield Run("mixed/bare", "pool", 0, (BARE, *IO_USERS), shares=True)
    for route in ROUTES:
        yield Run(f"kill/{route}", "pool", 0, (Users(route, KILL_USERS),), kill=True)
