"""Who is measured, and how one measurement is made: two processes on loopback, one JSON line from each."""

import json
import os
import pathlib
import shlex
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
RUN_SECONDS_MAX = 180  # A run is sized for seconds, on an idle machine; what takes this long hangs.


class Contender:
    """One program in one mode."""

    def __init__(self, name, program, size, listener=False, options=(), every=0, relay=()):
        self.name = name
        self.program = program  # A list: the program and, for lyqperf, its mode.
        self.size = size
        self.listener_measures = listener
        self.options = list(options)
        self.every = every  # Seconds between messages, if not as fast as they go.
        self.relay = list(relay)  # Options of a relay between the two; none: they talk directly.
        self.count = 0  # Messages in a run; set by calibrate.

    def commands(self, address, count):
        tail = ["--size", str(self.size), "--count", str(count), *self.options]
        return [self.program + [side, address] + tail for side in ("--listen", "--connect")]

    def text(self):
        """The two commands as a person would type them."""
        address, count = "tcp://127.0.0.1:PORT", self.count
        commands = self.commands(address, count)
        if self.relay:
            commands.insert(1, relay_command("RELAY", "PORT", self.relay))
            commands[2][commands[2].index(address)] = "tcp://127.0.0.1:RELAY"
        return [shlex.join([os.path.relpath(c[0], ROOT)] + c[1:]) for c in commands]

    def run(self, count):
        """Runs both processes to their end and gives the result of the one that measures."""
        port = free_port()
        listen, connect = self.commands(f"tcp://127.0.0.1:{port}", count)
        processes, helpers = [start(listen)], []
        try:
            wait_listening(port, processes[0])
            if self.relay:
                near = free_port()
                helpers.append(start(relay_command(near, port, self.relay), stdin=subprocess.PIPE))
                wait_listening(near, helpers[0])
                connect = self.commands(f"tcp://127.0.0.1:{near}", count)[1]
            processes.append(start(connect))
            wait_ended(processes)
            lines = [p.communicate() for p in processes]
        finally:
            for p in processes + helpers:
                if p.poll() is None:
                    p.kill()
                    p.wait()
        sides = [json.loads(out.strip().splitlines()[-1]) for out, _ in lines if out.strip()]
        result = sides[0 if self.listener_measures else -1]
        if "syscalls" in result:  # Those of both processes.
            result["syscalls"] = sum(side["syscalls"] for side in sides)
        return result

    def calibrate(self, pilot, seconds):
        """Finds the count of messages that takes about the given time, from short runs.

        Two of them: the first may be over before many connections are up and their memory was ever touched.
        """
        if self.every > 0:
            self.count = max(10, int(seconds / self.every))
            return
        self.count = max(pilot // 10, 100, int(self.rate(pilot) * seconds / 4))
        self.count = max(pilot // 10, 100, int(self.rate(self.count) * seconds))

    def rate(self, count):
        """Messages or round trips a second in a run of so many."""
        begun = time.monotonic()
        result = self.run(count)
        if "seconds" in result:
            return result["messages"] / max(result["seconds"], 1e-6)
        # A round trip: its median is a better guide than the processes' start.
        return min(1e6 / result["p50_us"], count / max(time.monotonic() - begun - 0.2, 1e-3))


def start(command, stdin=subprocess.DEVNULL):
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True)


def relay_command(near, far, options):
    """The relay of the chaos tests, which lives as long as its standard input."""
    return [str(BUILD / "relay"), "--listen", f"127.0.0.1:{near}", "--to", f"127.0.0.1:{far}", *options]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_listening(port, process):
    """Waits until the kernel lists the port as listening: the same for every contender, whatever it prints."""
    wanted = f":{port:04X}"
    for _ in range(2000):
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in pathlib.Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return
        if process.poll() is not None:
            raise SystemExit(f"bench: {shlex.join(process.args)} ended early\n{process.communicate()[1]}")
        time.sleep(0.005)
    raise SystemExit(f"bench: {shlex.join(process.args)} does not listen")


def wait_ended(processes):
    """Waits for both; ends the benchmark where one fails or hangs. Each prints far less than a pipe holds."""
    for _ in range(RUN_SECONDS_MAX * 100):
        codes = [p.poll() for p in processes]
        for p, code in zip(processes, codes):
            if code not in (None, 0):
                raise SystemExit(f"bench: {shlex.join(p.args)} ended with status {code}\n{p.stderr.read()}")
        if None not in codes:
            return
        time.sleep(0.01)
    raise SystemExit(f"bench: not done after {RUN_SECONDS_MAX} s: {shlex.join(processes[0].args)}")


def build():
    """Compiles the peers and the relay; libzmq's headers are needed for two of them."""
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run([os.environ.get("GO", "go"), "build", "-o", str(BUILD / "relay"), "./tests/chaos/relay"], cwd=ROOT,
                   check=True)
    here = pathlib.Path(__file__).parent
    for source in sorted(here.glob("*.c")):
        libraries = ["-lzmq"] if source.stem.startswith("zmq_") else []
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", str(source),
                   "-o", str(BUILD / source.stem), *libraries]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"bench: {source.name} does not compile (libzmq's development files are needed)")


def peer(name, program, size, relay=()):
    return Contender(name, [str(BUILD / program)], size, program.endswith("_thr"), relay=relay)


def lyqperf(name, mode, size, *options, every=0, relay=()):
    if every > 0:
        options += ("--every", str(round(every * 1e6)))
    return Contender(name, [str(ROOT / "build" / "lyqperf"), mode], size, mode == "thr", ("--json",) + options, every,
                     relay)
