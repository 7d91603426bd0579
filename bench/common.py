"""What the programs below bench/ share: the daemon under test, counters of the kernel, results.

Paths in results are relative to the checkout, so that a result reads the same everywhere.
"""
import atexit
import datetime
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PASSWORD = "bench-password"
TOKEN = "bench-admin-token"

PACKAGES = {  # Debian's name of what we run
    "wrk": "wrk", "nginx": "nginx-light", "haproxy": "haproxy", "taskset": "util-linux",
    "cc": "gcc", "curl-config": "libcurl4-openssl-dev", "node": "nodejs", "meson": "meson",
    "ninja": "ninja-build",
}


def need(*tools):
    """Ends the program with what to install when a tool is missing; sbin is looked at too."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        sys.exit("missing: %s; as root: apt-get install %s"
                 % (", ".join(missing), " ".join(PACKAGES.get(t, t) for t in missing)))


def build_dir():
    return os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))


def binary(*targets):
    """Builds gatehouse and optional targets in $BUILD (default build/), returns its path. With
    $NO_BUILD it is taken as it is, for a tree that changes meanwhile."""
    need("meson", "ninja")
    if os.environ.get("NO_BUILD"):
        return os.path.join(build_dir(), "gatehouse")
    if not os.path.exists(os.path.join(build_dir(), "build.ninja")):
        sys.exit("no build in %s: run ./run or `meson setup build` first" % build_dir())
    subprocess.run(["ninja", "-C", build_dir(), "gatehouse", *targets], check=True,
                   stdout=subprocess.DEVNULL)
    return os.path.join(build_dir(), "gatehouse")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- counters ----

def cpu_ns(pid):
    """Run time of all threads, user and kernel, in nanoseconds."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as f:
                total += int(f.read().split()[0])
        except FileNotFoundError:  # that thread ended; pools of ours keep theirs
            pass
    return total


def cpu_by_thread(pid):
    """{name: ns} for a look at who works; the first thread is the daemon's control loop."""
    out = {}
    for task in os.listdir("/proc/%d/task" % pid):
        base = "/proc/%d/task/%s/" % (pid, task)
        with open(base + "comm") as f:
            name = "control" if int(task) == pid else f.read().strip()
        with open(base + "schedstat") as f:
            out[name] = out.get(name, 0) + int(f.read().split()[0])
    return out


def memory_kib(pid):
    """(RSS, PSS) in KiB."""
    values = {}
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            m = re.match(r"(Rss|Pss):\s+(\d+) kB", line)
            if m:
                values[m.group(1)] = int(m.group(2))
    return values["Rss"], values["Pss"]


def busy_ns():
    """CPU time that the whole machine spent, for a word on its quietness."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) * 10_000_000


def median(values):
    v = sorted(values)
    n = len(v)
    return v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2


def percentile(values, p):
    v = sorted(values)
    return v[min(len(v) - 1, int(len(v) * p / 100))]


# ---- programs under test ----

class Child:
    """A program that is ended with the benchmark, and what it said."""

    def __init__(self, argv, env=None, core=None, cwd=None):
        if core is not None:
            argv = ["taskset", "-c", str(core), *argv]
        self.log = tempfile.TemporaryFile()
        self.proc = subprocess.Popen(argv, env=env, cwd=cwd, stdout=self.log, stderr=self.log)
        self.pid = self.proc.pid
        atexit.register(self.stop)

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def check(self):
        if self.proc.poll() is not None:
            sys.exit("%s ended with %d:\n%s" % (self.proc.args, self.proc.returncode, self.text()))

    def stop(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
            try:
                self.proc.wait(15)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.log.close()


def wait_port(port, child, path="/", timeout=30):
    """Until an HTTP answer comes; returns it with the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < timeout:
        child.check()
        try:
            return request(port, "GET", path), time.monotonic() - began
        except OSError:
            time.sleep(0.001)
    sys.exit("no answer on port %d:\n%s" % (port, child.text()))


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, token=None, timeout=60):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    h = dict(headers or {})
    if token:
        h["Authorization"] = "Bearer " + token
    if body is not None:
        body = json.dumps(body).encode()
        h["Content-Type"] = "application/json"
    try:
        c.request(method, path, body, h)
        r = c.getresponse()
        return Answer(r.status, r.getheaders(), r.read())
    finally:
        c.close()


def gatehouse(exe, data_dir, port, core=None, **env):
    """The daemon with one worker and a data directory of its own; env in capitals."""
    e = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    e.update(PORT=str(port), DATA_DIR=data_dir, ADMIN_PANEL_PASSWORD=PASSWORD,
             API_MONITOR_TOKEN_ADMIN=TOKEN, GATEHOUSE_LISTEN="127.0.0.1:%d" % port,
             GATEHOUSE_WORKERS="1")
    e.update(env)
    return Child([exe], env=e, core=core)


# ---- results ----

class Results:
    """Lines to the terminal and to a file beside the script."""

    def __init__(self, path, command):
        self.path = path
        self.lines = []
        self.say("command: %s" % command)
        self.say("date:    %s" % datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"))

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def facts(self, **versions):
        cpu = "unknown"
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    cpu = line.split(":", 1)[1].strip()
                    break
        with open("/etc/os-release") as f:
            system = dict(l.strip().split("=", 1) for l in f if "=" in l)
        u = os.uname()
        self.say("machine: %d x %s, %s, kernel %s, %s" % (
            os.cpu_count(), cpu, u.machine, u.release, system.get("PRETTY_NAME", "").strip('"')))
        self.say("commit:  %s" % commit())
        for name, text in versions.items():
            self.say("%-8s %s" % (name + ":", text))
        self.say("load:    %s (1, 5, 15 min, when it began)" % " ".join("%.2f" % x for x in os.getloadavg()))
        self.say()

    def write(self):
        with open(self.path, "w") as f:
            f.write("\n".join(self.lines) + "\n")


def commit():
    def git(*a):
        return subprocess.run(["git", "-C", ROOT, *a], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src")
    return git("rev-parse", "--short", "HEAD") + (" with changes in src/" if changed else "")


def first_line(*argv):
    p = subprocess.run(argv, capture_output=True, text=True)
    return (p.stdout + p.stderr).strip().splitlines()[0]


def command():
    """As typed, with the script relative to the checkout."""
    script = os.path.relpath(os.path.abspath(sys.argv[0]), ROOT)
    return " ".join([script, *sys.argv[1:]])
