# SPDX-License-Identifier: BSD-3-Clause
"""What a run needs around it: a database, a wire, a server, a load.

All of it lives in namespaces that end with this program (see bench_study.in): whatever
way it ends, the kernel then kills the processes and drops devices and files.
"""

import contextlib
import glob
import json
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = "/run/study"  # on a tmpfs of our own
NEAR, FAR = "10.77.0.1", "10.77.0.2"  # database and load; the server
PORT = 8000
START_SECONDS = 30
ROWS = 1_000_000


class Failure(Exception):
    """The study cannot go on, and the reason."""


def run(*command, **options):
    """Runs a command; what it printed is the error if it fails."""
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_for(what, process, attempt):
    """Tries until attempt() is true."""
    end = time.monotonic() + START_SECONDS
    while not attempt():
        if process.poll() is not None:
            raise Failure(f"{what} ended with status {process.returncode}")
        if time.monotonic() > end:
            raise Failure(f"{what} was not ready within {START_SECONDS} s")
        time.sleep(0.02)


def set_up():
    """Makes the namespace that this program is in usable: the near side."""
    run("mount", "-t", "tmpfs", "study", "/run")
    os.mkdir(ROOT)
    run("ip", "link", "set", "lo", "up")
    for name, value in {
        "conf/all/rp_filter": "0",  # answers come in by another device than requests leave
        "conf/default/rp_filter": "0",
        "ip_local_port_range": "1024 65535",  # many short connections to one server
        "tcp_tw_reuse": "1",
    }.items():
        with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as setting:
            setting.write(value)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# ---- the machine ------------------------------------------------------------

groups = {}  # the cgroup of each party, while they have some


def cpu_cgroups():
    """Where those are mounted that divide the CPUs; None if nowhere."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        for _, place, kind, options, *_ in map(str.split, mounts):
            if kind == "cgroup" and "cpu" in options.split(","):
                return place
            if kind == "cgroup2":
                with open(f"{place}/cgroup.subtree_control", encoding="ascii") as controllers:
                    if "cpu" in controllers.read().split():
                        return place
    return None


def remove_empty(directory):
    """A group is busy until its last process is gone, not only dead."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
            return
        time.sleep(0.05)


def make_groups(place):
    for party in ("server", "database", "load"):
        groups[party] = tempfile.mkdtemp(prefix=f"multicore-study-{party}-", dir=place)


def drop_groups():
    for directory in groups.values():
        remove_empty(directory)
    groups.clear()


@contextlib.contextmanager
def parties():
    """Server, database and load have a cgroup each, of the same weight, as containers have. Yields
    whether that was possible."""
    try:
        place = cpu_cgroups()
        if place:
            make_groups(place)
    except OSError:  # such are mounted, but not for us
        drop_groups()
    try:
        yield bool(groups)
    finally:
        drop_groups()


def join(party, process):
    """A process that has no others yet; ends it if that fails."""
    if party in groups:
        try:
            with open(f"{groups[party]}/cgroup.procs", "w", encoding="ascii") as members:
                members.write(str(process.pid))
        except OSError:
            process.kill()
            raise


def speedup(programs):
    """How much more two processes compute than one: what the machine has left for them."""
    alone, together = (json.loads(run(*bare(programs, processes, 1, 0, 1)))["successes"]
                       for processes in (1, 2))  # fmt: skip
    return together / alone


# ---- the database -----------------------------------------------------------

SEED, DATA = f"{ROOT}/seed", f"{ROOT}/data"
SEED_SQL = f"""
create table posts (id uuid, title text not null, content text not null,
                    created_at timestamptz not null, updated_at timestamptz not null);
insert into posts select gen_random_uuid(), 'Post ' || n, repeat('All work and no play. ', 5),
                         now(), now() from generate_series(1, {ROWS}) n;
alter table posts add primary key (id);
"""


def postgres_program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise Failure(f"there is no PostgreSQL ({name}); ./dev deps study installs it")
    return found[-1]


def as_postgres():
    """For subprocess: PostgreSQL does not run as root."""
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise Failure("there is no user postgres; ./dev deps study makes one") from None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def psql(database, sql):
    run(postgres_program("psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", ROOT, "-U", "study",
        "-d", database, "-c", sql)  # fmt: skip


@contextlib.contextmanager
def postgres(data, connections, *options, end=signal.SIGQUIT):
    """Ends it at once, whatever its clients are doing: the files are not needed any more."""
    log = open(f"{ROOT}/postgres.log", "ab")
    process = subprocess.Popen(
        [postgres_program("postgres"), "-D", data, "-c", "listen_addresses=*",
         "-c", f"unix_socket_directories={ROOT}", "-c", f"max_connections={connections}",
         "-c", "max_wal_size=256MB", *options],
        stdout=log, stderr=log, **as_postgres())  # fmt: skip
    ready = [postgres_program("pg_isready"), "-q", "-h", ROOT]
    join("database", process)
    try:
        wait_for("PostgreSQL", process, lambda: subprocess.run(ready).returncode == 0)
        yield
    finally:
        process.send_signal(end)
        process.wait()
        log.close()


def seed():
    """A cluster with the million posts, which runs copy."""
    os.chown(ROOT, as_postgres()["user"], as_postgres()["group"])
    run(postgres_program("initdb"), "-D", SEED, "-U", "study", "--no-sync", "-A", "trust",
        "-E", "UTF8", "--locale=C.UTF-8", **as_postgres())  # fmt: skip
    with open(f"{SEED}/pg_hba.conf", "a", encoding="ascii") as access:
        access.write(f"host all all {FAR}/32 trust\n")
    # The rows need no log, which would be copied as well; and a clean end.
    without_log = ("-c", "wal_level=minimal", "-c", "max_wal_senders=0")
    with postgres(SEED, 100, *without_log, end=signal.SIGINT):
        psql("postgres", "create database study")
        psql("study", SEED_SQL)
        psql("study", "vacuum analyze posts")


@contextlib.contextmanager
def database(connections):
    """Each run has the table as it was at first."""
    try:
        subprocess.run(["cp", "-a", SEED, DATA], check=True)
        with postgres(DATA, connections):
            yield
    finally:
        shutil.rmtree(DATA, ignore_errors=True)


# ---- the wire ---------------------------------------------------------------


def configure_wire(inside, delay_ms):
    """Both directions go through a veth pair; with a delay the server's way out is another."""
    run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", inside)
    run("ip", "address", "add", f"{NEAR}/24", "dev", "near")
    run("ip", "link", "set", "near", "up")
    enter = ("nsenter", "--net=/proc/" + inside + "/ns/net")
    run(*enter, "ip", "link", "set", "lo", "up")
    run(*enter, "ip", "address", "add", f"{FAR}/24", "dev", "far")
    run(*enter, "ip", "link", "set", "far", "up")
    if delay_ms > 0:
        run("ip", "link", "set", "late", "up")
        # As long as the wire's own: with the usual 500 packets a burst of answers lost some.
        run(*enter, "ip", "link", "set", "late", "up", "txqueuelen", "16384")
        run(*enter, "ip", "route", "add", f"{NEAR}/32", "dev", "late", "src", FAR)


@contextlib.contextmanager
def wire(programs, delay_ms):
    """Yields the words before a command that is to run on the far side."""
    process = subprocess.Popen([f"{programs}/study_wire", str(delay_ms)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        if process.stdout.readline() != b"ready\n":
            raise Failure("there is no wire, for the reason above")
        configure_wire(str(process.pid), delay_ms)
        yield ("nsenter", f"--net=/proc/{process.pid}/ns/net")
    finally:
        process.stdin.close()
        process.wait()
        # The kernel drops a namespace some time after its last process.
        subprocess.run(["ip", "link", "del", "near"], stderr=subprocess.DEVNULL)


# ---- the server -------------------------------------------------------------


def answers():
    """Whether the server answers anything at all."""
    try:
        with urllib.request.urlopen(f"http://{FAR}:{PORT}/ready", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def server(command, environment):
    """In a session of its own, so that all of its processes can be killed."""
    log = open(f"{ROOT}/server.log", "wb")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               env={**os.environ, **environment}, cwd=ROOT,
                               start_new_session=True)  # fmt: skip
    join("server", process)
    try:
        wait_for("the server", process, answers)
        yield process
    except Failure as failure:
        with open(f"{ROOT}/server.log", encoding="utf-8", errors="replace") as text:
            raise Failure(f"{failure}\n{text.read()[-2000:]}".strip()) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def named(prefix):
    """The process ids of whom the kernel knows by a name that begins so."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as name:
            if name.read().startswith(prefix):
                found.append(int(path.split("/")[2]))
    return sorted(found)


# ---- the load ---------------------------------------------------------------


def asking(programs, method, path, body, **options):
    """The command of users who ask the server for one route."""
    words = [f"--{name}={value}" for name, value in options.items()]
    return (f"{programs}/study_load", f"--connect={FAR}:{PORT}", *words, method, path, *body)


def bare(programs, processes, users, ramp, hold):
    """The command of processes that do the work of the cpu route by themselves."""
    return (sys.executable, "-B", f"{HERE}/bare.py", f"{programs}/study_squares.so",
            *map(str, (processes, users, ramp, hold)))  # fmt: skip


class Load:
    """A command that loads the machine and then says what came of it. Begins at once; result()
    waits for the end, and whoever leaves the context without it ends it."""

    def __init__(self, party, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        join(party, self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def running(self):
        return self.process.poll() is None

    def result(self):
        printed, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise Failure(f"the load ended with status {self.process.returncode}")
        return json.loads(printed)
