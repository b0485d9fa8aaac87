"""The programs of a scenario, each with its output collected and its end bounded.

Nothing is ever ended but what was started here."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "chaos"
START_SECONDS = 30
END_SECONDS = 20
C_FLAGS = "-std=gnu11 -g -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude -Iexamples/c".split()


class Failure(Exception):
    """Something that ends a scenario; its text says what."""


def build(library):
    """Builds the relay and the C programs against liblyquor.so in the directory `library`."""
    WORK.mkdir(parents=True, exist_ok=True)
    command([os.environ.get("GO", "go"), "build", "-o", str(WORK / "relay"), "./tests/chaos/relay"])
    link = [f"-L{library}", "-llyquor", "-pthread", f"-Wl,-rpath,{library}"]
    for name in ("storm", "counting", "soak", "logger", "ledger"):
        source = f"tests/chaos/{name}.c"
        command([os.environ.get("CC", "gcc"), *C_FLAGS, source, "-o", str(WORK / name), *link])


def command(args):
    done = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Failure(f"{' '.join(args)}\n{done.stdout}{done.stderr}")


class Process:
    """One running program. Its standard input is a pipe: when this script dies, the program finds it closed."""

    def __init__(self, name, *args):
        self.name = name
        self.lines, self.errors = [], []
        self.changed = threading.Condition()
        self.child = subprocess.Popen([str(WORK / name), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        self.readers = [threading.Thread(target=self._collect, args=pair, daemon=True)
                        for pair in ((self.child.stdout, self.lines), (self.child.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    def _collect(self, stream, lines):
        for line in stream:
            with self.changed:
                lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def _await(self, what, found, seconds):
        """Waits until found() is true; a program that ended without it is a failure at once."""
        end = time.monotonic() + seconds
        with self.changed:
            while not found():
                if self.child.poll() is not None and not any(r.is_alive() for r in self.readers):
                    raise Failure(f"{self.name} ended with status {self.child.returncode} {self.said()}")
                if time.monotonic() > end:
                    raise Failure(f"{self.name} gave no {what} within {seconds:.0f} s {self.said()}")
                self.changed.wait(0.05)  # an end notifies nobody

    def said(self):
        return "\n".join(["and said:", *self.errors[-20:]]) if self.errors else "and said nothing"

    def address(self, verb="listening"):
        """Where it listens, once it said so."""
        return self.addresses(1, verb)[0]

    def addresses(self, count, verb="listening"):
        """Where it listens, once it said so of that many places."""
        pattern = re.compile(verb + r" on (\S+)")

        def found():
            return [m[1] for m in map(pattern.match, self.errors) if m]

        self._await("address", lambda: len(found()) >= count, START_SECONDS)
        return found()

    def await_lines(self, n, seconds):
        """Waits until it has said that many lines on its standard output."""
        self._await("line", lambda: len(self.lines) >= n, seconds)

    def report(self, seconds):
        """Its line of JSON, within that time."""
        self._await("report", lambda: self.lines, seconds)
        return json.loads(self.lines[0])

    def ask(self, seconds, question=""):
        """Asks for a line of JSON, and gives it."""
        before = len(self.lines)
        try:
            self.child.stdin.write(question + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # the line does not come either, which says more
        self._await("answer", lambda: len(self.lines) > before, seconds)
        return json.loads(self.lines[before])

    def signal(self, number):
        """Sends a signal, unless it ended: then its report says why."""
        if self.child.poll() is None:
            os.kill(self.child.pid, number)

    def ended(self, seconds=END_SECONDS):
        """Waits for its end, after its standard input was closed; gives its exit status."""
        try:
            status = self.child.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"{self.name} did not end within {seconds} s {self.said()}") from late
        for reader in self.readers:
            reader.join(seconds)
        return status

    def end(self):
        """Ends it, however it is. May be called again."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        for reader in self.readers:
            reader.join(END_SECONDS)
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                pass  # what it did not read while it lived
