#!/usr/bin/env python3
"""Watches what long-lived programs hold: three of them talk, come and go for an hour, and nothing may grow. Prints TAP.

The hub and the peer live through the whole run, the peer behind relays that cut its connections; the third program is
killed, or ended, and started again and again. Handles, pieces of the pools and the like are looked at every second: the
least of each window counts, because what is in use for a moment is no leak, and must not grow by more than GROWTH
between the second quarter and the last. Memory, descriptors, threads and goroutines are looked at when all three have
been asked to be quiet, and nothing is under way: over the second half of the run they must not rise by more than SLOPE
percent in an hour. The rise is the median of those between any two looks (Theil and Sen's estimator), and counts as far
as it is certain (the lower end of its interval of 95 %, by Kendall's statistic).
"""

import argparse
import datetime
import itertools
import json
import math
import os
import pathlib
import platform
import random
import signal
import statistics
import subprocess
import sys
import time

from processes import ROOT, Failure, Process, build
from tap import Tap

WINDOWS = 60         # the run is cut into so many
LOOKS = 15           # seconds between two looks at quiet programs
HUSH = 5             # seconds that they may take to become quiet; else that look is left out
CERTAIN = 1.96       # standard deviations
SLOPE = 1.0          # percent in an hour that anything may rise
LONG = 1800          # seconds from which a run has a slope
GROWTH = 1.25        # else, the last quarter may be so much above the second one
SLACK = 8            # or that much, of what is counted in pieces
PATIENCE = 180       # seconds that an answer, and an end, may take
RESTARTS = (10, 20)  # seconds that the third program lives

# What is judged by its slope; and what by its growth alone, because it is little, and moves by a large share of it.
SLOPED = ("rss", "anonymous", "descriptors", "threads", "goroutines")
COUNTED = ("heap_bytes", "malloc_bytes", "log_bytes", "block_bytes", "handles", "parcels", "peers", "loans")
SLACKS = {"rss": 32 << 20, "anonymous": 32 << 20, "heap_bytes": 1 << 20, "malloc_bytes": 8 << 20,
          "log_bytes": 1 << 20, "block_bytes": 4 << 20}


def of_process(pid):
    """What the system says of a process."""
    proc = pathlib.Path(f"/proc/{pid}")
    rollup = dict(line.split(":", 1) for line in (proc / "smaps_rollup").read_text().splitlines()[1:])
    kib = {name: int(value.split()[0]) for name, value in rollup.items()}
    return {"rss": kib["Rss"] << 10, "anonymous": kib["Anonymous"] << 10,
            "descriptors": len(os.listdir(proc / "fd")), "threads": len(os.listdir(proc / "task"))}


class Soak:
    """The programs, and what was seen of them."""

    def __init__(self, seconds, rate, seed):
        self.seconds, self.random = seconds, random.Random(seed)
        self.running = []
        self.restarts = 0
        self.errors = []   # of programs that ended otherwise than they should
        options = ["--rate", str(rate), "--seed", str(seed)]
        anywhere = ["--listen", "tcp://127.0.0.1:0"] * 2
        try:
            self.mortal = self._start("soak", *anywhere, *options)
            doors = [self.mortal.address(), self.mortal.address("pulling")]
            self.hub = self._start("soak", *anywhere, *self._connect(doors), *options)
            targets = [self.hub.address(), self.hub.address("pulling")]
            cuts = ["--cut-every", "5s", "--seed", str(seed)]
            self.relays = [self._start("relay", "--to", targets[0], *cuts),
                           self._start("relay", "--to", targets[1], *cuts, "--rst")]
            self.peer = self._start("soak", *anywhere, *self._connect([r.address() for r in self.relays]), *options)
            self.again = ["soak", "--listen", doors[0], "--listen", doors[1], *self._connect(targets), *options]
        except BaseException:
            self.end()
            raise

    @staticmethod
    def _connect(addresses):
        return [word for address in addresses for word in ("--connect", address)]

    def _start(self, *args):
        self.running.append(Process(*args))
        return self.running[-1]

    def run(self):
        """Gives the samples of the hub and of the peer, and those of when all was quiet: lists of time and figures."""
        samples, looks = {"hub": [], "peer": []}, {"hub": [], "peer": []}
        begin = time.monotonic()
        restart, look = begin + self.random.uniform(*RESTARTS), begin + LOOKS
        while (now := time.monotonic()) < begin + self.seconds:
            for name, program in (("hub", self.hub), ("peer", self.peer)):
                samples[name].append((now - begin, self._figures(program)))
            if now > look:
                self._look(begin, looks)
                look = now + LOOKS
            if now > restart:
                self._restart()
                restart = now + self.random.uniform(*RESTARTS)
            time.sleep(max(0, now + 1 - time.monotonic()))
        return samples, looks

    @staticmethod
    def _figures(program, question=""):
        return program.ask(PATIENCE, question) | of_process(program.child.pid)

    def _look(self, begin, looks):
        """Takes the figures of the hub and the peer when nothing is under way, if that comes about."""
        everybody = (self.mortal, self.hub, self.peer)
        until = time.monotonic() + HUSH
        while (now := time.monotonic()) < until:
            figures = [self._figures(p, "hush") for p in everybody]
            if all(f["log_bytes"] + f["loans"] == 0 for f in figures):
                time.sleep(0.3)  # what is idle rests after a tenth of a second
                for name, program in (("hub", self.hub), ("peer", self.peer)):
                    looks[name].append((now - begin, self._figures(program, "hush")))
                break
            time.sleep(0.1)
        for program in everybody:
            program.ask(PATIENCE)

    def _restart(self):
        """Ends the third program, one way or the other, and starts it where it was."""
        if self.restarts % 2 == 0:
            self.mortal.end()
        else:
            self._finish(self.mortal)
        self.running.remove(self.mortal)
        self.mortal = self._start(*self.again)
        self.restarts += 1

    def _finish(self, program):
        """Has a program end by itself; gives its last report."""
        before = len(program.lines)
        program.child.stdin.close()
        status = program.ended(PATIENCE)
        last = json.loads(program.lines[-1]) if len(program.lines) > before else {"wrong": 1}
        if status != 0:
            last["wrong"] = last["wrong"] or 1
            self.errors.append(f"{program.name} ended with status {status}: {last} {program.said()}")
        return last

    def finish(self):
        """Gives the last reports of the programs, and of the relays."""
        reports = {name: self._finish(program)
                   for name, program in (("mortal", self.mortal), ("peer", self.peer), ("hub", self.hub))}
        for r in self.relays:
            r.child.stdin.close()
        return reports, [r.report(PATIENCE) for r in self.relays]

    def end(self):
        for p in self.running:
            p.end()


def troughs(samples, figure, seconds):
    """The least of each window, with the middle of its time in hours."""
    width = seconds / WINDOWS
    windows = [[] for _ in range(WINDOWS)]
    for at, figures in samples:
        windows[min(int(at / width), WINDOWS - 1)].append(figures[figure])
    return [((i + 0.5) * width / 3600, min(w)) for i, w in enumerate(windows) if w]


def slope(points):
    """Percent of their median that the points rise in an hour, and how much of that is certain."""
    rises = sorted((w - v) / (y - x) for (x, v), (y, w) in itertools.combinations(points, 2))
    n, middle = len(points), statistics.median(v for _, v in points)
    spread = CERTAIN * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    certain = rises[max(0, round((len(rises) - spread) / 2))]
    return (100 * statistics.median(rises) / middle, 100 * certain / middle) if middle else (0.0, 0.0)


def judge(tap, name, samples, looks, seconds):
    """Prints what became of each figure of a program; gives the table of them."""
    table = {}
    for figure in SLOPED + COUNTED:
        points = troughs(samples, figure, seconds)
        values = [v for _, v in points]
        second, last = (min(values[len(values) * a // 4:len(values) * b // 4]) for a, b in ((1, 2), (3, 4)))
        row = {"first": values[0], "second_quarter": second, "last_quarter": last,
               "most": max(f[figure] for _, f in samples)}
        if figure in SLOPED and seconds >= LONG:
            quiet = [(at / 3600, f[figure]) for at, f in looks if at > seconds / 2]
            rise, certain = slope(quiet)
            row |= {"quiet": statistics.median(v for _, v in quiet), "looks": len(quiet),
                    "percent_an_hour": round(rise, 2), "certain_percent_an_hour": round(certain, 2)}
            tap.ok(certain <= SLOPE, f"{name}: {figure} rises by {rise:.2f} % in an hour, {certain:.2f} for certain, "
                                     f"at most {SLOPE:.0f}: {row}")
        else:
            bound = max(second * GROWTH, second + SLACKS.get(figure, SLACK))
            tap.ok(last <= bound, f"{name}: {figure} is at {last}, was at {second}, at most {bound:.0f} is allowed")
        table[figure] = row
    tap.ok(len(looks) > seconds / LOOKS / 3, f"{name} was quiet {len(looks)} times, when it was to be looked at")
    return table


def about(seconds, rate):
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), "unknown")
    go = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "kernel": platform.release().split("-")[0], "cpu": cpu,
            "cores": os.cpu_count(), "go": go, "seconds": seconds, "rate": rate}


def watch(tap, args):
    """The whole run; gives what is written down of it."""
    soak = Soak(args.seconds, args.rate, args.seed)
    try:
        samples, looks = soak.run()
        reports, relays = soak.finish()
    finally:
        soak.end()
    tap.ok(not soak.errors, "every program that was asked to end did so, and held nothing")
    tap.note("\n".join(soak.errors))
    for name, last in reports.items():
        tap.ok(last["wrong"] == 0, f"{name}: all went as it should: {last}")
    tap.ok(soak.restarts > 0 or args.seconds < RESTARTS[1],
           f"the third program was started again {soak.restarts} times")
    cuts = sum(r["cuts"] for r in relays)
    tap.ok(cuts > args.seconds / 20, f"{cuts} connections were cut")
    tables = {name: judge(tap, name, samples[name], looks[name], args.seconds) for name in samples}
    return {"about": about(args.seconds, args.rate), "restarts": soak.restarts, "cuts": cuts, "reports": reports,
            "figures": tables}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600, help="how long (3600)")
    parser.add_argument("--rate", type=int, default=500, help="messages a second to each of four listeners (500)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--write", type=pathlib.Path, help="file for the figures")
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build",
                        help="directory of the liblyquor.so to watch (build)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tap = Tap()
    tap.note(f"--seed {args.seed}")
    try:
        build(args.library.resolve())
        result = watch(tap, args)
    except Failure as failure:
        tap.ok(False, str(failure).splitlines()[0])
        tap.note(failure)
        return 1
    if args.write:
        args.write.write_text(json.dumps(result, indent=1) + "\n")
        tap.note(f"written: {args.write}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
