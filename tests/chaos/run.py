#!/usr/bin/env python3
"""Runs the storm, two programs that send each other all they can, through a relay that does to their connections what
networks do, and stops the programs themselves; wants every message once and in order. Then kills programs that write
down what they receive, and wants to know of every message what became of it. Prints TAP.

Everything random comes from the seed, which is printed. Throughput is compared with quiet storms of the same run: where
there is a bar, with one right before and one right after, because the rest of the machine may be busy now and then.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import killing
from processes import ROOT, WORK, Failure, Process, build, command
from tap import Tap

QUIET_SECONDS = 10   # of a quiet storm, where others take longer: it only has to show the speed
PATIENCE = 180       # seconds beyond its own time that a storm may take: to begin, to settle, to report
STOPPED = (0.05, 0.6)  # seconds that a program stands still
RUNNING = (0.2, 2.0)   # and runs between
EACH = 0.6           # moves asked of each program, for each that is wanted of both: late ones are not made up for
ASKED = 1.02         # switches that are asked for, for each that is wanted: the storm's end cuts the last ones short

KILL = "kill-log"    # programs that are killed, and what is left of them: see killing.py


class Scenario:
    """What is done to one storm."""

    def __init__(self, name, relay=(), storm=(), stops=False, bar=None, wants=None, moves=0, switches=0, listens="C",
                 dials="C"):
        self.name, self.storm, self.stops = name, storm, stops
        self.listens, self.dials = listens, dials  # the languages of the two programs
        self.relay = relay  # its options; None: the storms are connected directly
        # How often a second each endpoint goes to another worker, and the one that dialled, which alone can, to another
        # address.
        self.moves, self.switches = moves, switches
        self.bar = bar      # share of the quiet storm's throughput that has to be left
        # A count of the relay, and how many a second there have to be: faults that did not come prove nothing. Fewer
        # than are planned, because a cut hits nothing while there is no connection.
        self.wants = wants


SCENARIOS = [
    Scenario("storm-quiet"),
    Scenario("storm-cuts", relay=["--cut-every", "100ms"], bar=0.3, wants=("cuts", 6)),
    # The same by RST, on which kernels also throw away what they have and nobody has read.
    Scenario("storm-resets", relay=["--cut-every", "100ms", "--rst"], bar=0.3, wants=("cuts", 6)),
    Scenario("storm-stop", stops=True, bar=0.3),
    Scenario("storm-stalls", relay=["--stall-every", "400ms", "--stall-for", "200ms", "--slice", "20000"],
             bar=0.3, wants=("stalls", 0.5)),
    # Who hears nothing finds out after three times the keep-alive, which must be less than the time between two faults.
    # Messages of some KiB make it likely that a direction dies within one: half a message is no sign of life.
    Scenario("storm-half-open", relay=["--half-open-every", "1s"],
             storm=["--keepalive-ms", "200", "--small", "8192"], wants=("half_opens", 0.1)),
    Scenario("storm-python", relay=["--cut-every", "100ms"], wants=("cuts", 6), dials="Python"),
    Scenario("storm-rust", relay=["--cut-every", "100ms"], wants=("cuts", 6), dials="Rust"),
    Scenario("storm-rust-python", relay=["--cut-every", "100ms"], wants=("cuts", 6), listens="Rust", dials="Python"),
    Scenario("storm-direct", relay=None),
    Scenario("storm-moves", relay=None, moves=1000, bar=0.8),
    Scenario("storm-switches", relay=None, moves=1000, switches=100, bar=0.8),
]
# The storm in each language: storm.c, storm.py, and bindings/rust/storm. That in Python runs in the environment that
# the package's tests have, where its wheel is installed.
STORMS = {
    "C": ["storm"],
    "Python": [str(ROOT / "build" / "python" / "bin" / "python"), "-P", str(ROOT / "tests" / "chaos" / "storm.py")],
    "Rust": [str(ROOT / "build" / "rust" / "release" / "lyquor-storm")],
}
# What the others are compared with, by whether they are direct.
QUIET = {s.relay is None: s for s in SCENARIOS if s.name in ("storm-quiet", "storm-direct")}


class Storm:
    """The two programs, and the relay between them, if there is one."""

    def __init__(self, scenario, seconds, seed):
        self.scenario, self.seconds = scenario, seconds
        self.random = random.Random(seed)
        self.stopped = 0
        self.still_s = 0  # how long at least one of the programs stood still
        self.running = []
        common = ["--seconds", str(seconds), "--seed", str(seed), "--hold", "--json", *scenario.storm]
        if scenario.moves:
            common += ["--moves", str(round(EACH * scenario.moves))]
        try:
            anywhere = "tcp://127.0.0.1:0"
            self.listener = self._start(*STORMS[scenario.listens], "--listen", anywhere, "--also", anywhere, *common)
            first, second = self.listener.addresses(2)
            self.relay = None
            if scenario.relay is not None:
                self.relay = self._start("relay", "--to", first, "--seed", str(seed), *scenario.relay)
                first = self.relay.address()
            dialler = ["--connect", first, "--also", second, *common]
            if scenario.switches:
                dialler += ["--switches", str(round(ASKED * scenario.switches))]
            self.dialler = self._start(*STORMS[scenario.dials], *dialler)
        except BaseException:
            self.end()
            raise

    def _start(self, *args):
        self.running.append(Process(*args))
        return self.running[-1]

    def run(self):
        """Gives the reports of both storms and of the relay, which is None without one."""
        if self.scenario.stops:
            self._stop_and_go(time.monotonic() + self.seconds)
        end = time.monotonic() + self.seconds + PATIENCE
        storms = [self.listener, self.dialler]
        reports = [p.report(max(end - time.monotonic(), 0)) for p in storms]
        # Both have all: only now may one leave, because who is left behind could not tell that from a fault.
        for p in storms:
            p.child.stdin.close()
        for report, p in zip(reports, storms):
            report["status"] = p.ended()
        if not self.relay:
            return *reports, None
        self.relay.child.stdin.close()
        return *reports, self.relay.report(PATIENCE)

    def _stop_and_go(self, until):
        """Stops the storms at random times, each by itself, so that now and then both stand still."""
        storms = [self.listener, self.dialler]
        due = {p: time.monotonic() + self.random.uniform(*RUNNING) for p in storms}
        still, since = set(), 0
        while min(due.values()) < until:
            p = min(storms, key=due.get)
            time.sleep(max(due[p] - time.monotonic(), 0))
            if p in still:
                p.signal(signal.SIGCONT)
                still.remove(p)
                if not still:
                    self.still_s += time.monotonic() - since
            else:
                if not still:
                    since = time.monotonic()
                p.signal(signal.SIGSTOP)
                still.add(p)
                self.stopped += 1
            due[p] += self.random.uniform(*(STOPPED if p in still else RUNNING))
        if still:
            self.still_s += time.monotonic() - since
        for p in still:
            p.signal(signal.SIGCONT)

    def end(self):
        for p in self.running:
            p.end()


def install_package():
    subprocess.run([ROOT / "tests" / "packaging" / "wheel.sh"], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)


def build_rust(library):
    """Builds the storm in Rust against the library in that directory."""
    os.environ.update(CARGO_TARGET_DIR=str(ROOT / "build" / "rust"), LYQUOR_LIB_DIR=str(library))
    command(["cargo", "rustc", "-q", "--locked", "--release", "--manifest-path", "bindings/rust/Cargo.toml",
             "-p", "lyquor-storm", "--", "-C", f"link-arg=-Wl,-rpath,{library}"])


def judge(tap, storm, reports):
    """Prints what one storm showed; gives its throughput, 0 if it broke off."""
    s, (*sides, relay) = storm.scenario, reports
    for side in sides:
        wrong = [f"{side[k]} {k}" for k in ("lost", "duplicated", "reordered", "misframed", "strays", "restarts")
                 if side[k] > 0]
        if not side["complete"]:
            wrong.append("not all arrived")
        if side["status"] != 0:
            wrong.append(f"exit status {side['status']}")
        if side["huge"] == 0:
            wrong.append("no huge message arrived")
        what = ", ".join(wrong) or (f"all of {side['received']} messages arrived once and in order, "
                                    f"{side['huge']} huge ones among them")
        tap.ok(not wrong, f"{s.name}: {side['role']}: {what}")
        tap.note(side)
        if wrong:
            tap.note("\n".join((storm.listener if side["role"] == "listen" else storm.dialler).errors))
    if relay:
        tap.note(relay)
    if s.wants:
        fault, each_second = s.wants
        tap.ok(relay[fault] >= each_second * storm.seconds,
               f"{s.name}: the faults came: {relay[fault]} {fault} in {storm.seconds} s")
    if s.moves:
        # Arrivals at another worker, of both endpoints. Each side asks for so many; a worker that is busy sees only the
        # last of what was asked during its turn.
        moves = sum(side["moves"] for side in sides)
        tap.ok(moves >= s.moves * storm.seconds,
               f"{s.name}: {moves} moves in {storm.seconds} s, {moves / storm.seconds:.0f} a second, bar {s.moves}")
    if s.switches:
        # Connections that the dialler left for another one that came up, and that the listener saw come, too.
        switches = min(max(side["switches"] for side in sides), *(side["ups"] - 1 for side in sides))
        tap.ok(switches >= s.switches * storm.seconds,
               f"{s.name}: {switches} switches took effect in {storm.seconds} s, "
               f"{switches / storm.seconds:.1f} a second, bar {s.switches}")
    if s.stops:
        had = max(1 - storm.still_s / max(side["seconds"] for side in sides), 0)
        tap.ok(storm.stopped > 0 and had < 1,
               f"{s.name}: the programs were stopped {storm.stopped} times; both ran for {had:.0%} of the time")
    rate = sum(side["bytes_per_s"] for side in sides)
    tap.note(f"{rate / 1e6:.0f} MB/s both ways together, longest silence "
             f"{max(side['longest_silence_ms'] for side in sides):.0f} ms")
    return rate if all(side["complete"] for side in sides) else 0


def run(tap, scenario, seconds, seed):
    """Runs one storm; gives its throughput, 0 if it broke off."""
    storm = None
    try:
        storm = Storm(scenario, seconds, seed)
        return judge(tap, storm, storm.run())
    except Failure as failure:
        tap.ok(False, f"{scenario.name}: {str(failure).splitlines()[0]}")
        tap.note(failure)
        return 0
    finally:
        if storm:
            storm.end()


def compare(tap, scenario, rate, quiet):
    """Holds a storm's throughput against the quiet one's."""
    if not rate or not quiet:
        return  # which has failed already
    share = f"{rate / quiet:.2f} of the quiet storm's throughput"
    if scenario.bar:
        tap.ok(rate >= scenario.bar * quiet, f"{scenario.name}: {share}, bar {scenario.bar}")
    else:
        tap.note(share)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long each storm sends (60)")
    parser.add_argument("--only", action="append", choices=[s.name for s in SCENARIOS] + [KILL],
                        help="run this scenario, a storm after the quiet one; may be given again")
    parser.add_argument("--rounds", type=int, default=100, help="how often kill-log kills each kind of program (100)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build",
                        help="directory of the liblyquor.so to test (build)")
    args = parser.parse_args()
    # An exception unwinds through Storm.end, so that no program is left behind, least of all one that stands still.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tap = Tap()
    tap.note(f"--seed {args.seed}")
    wanted = [s for s in SCENARIOS if not args.only or s.name in args.only]
    languages = {language for s in wanted for language in (s.listens, s.dials)}
    try:
        build(args.library.resolve())
        if "Rust" in languages:
            build_rust(args.library.resolve())
    except Failure as failure:
        tap.ok(False, "the programs build")
        tap.note(failure)
        return 1
    counting = subprocess.run([WORK / "counting"], stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
    tap.failed += counting.returncode != 0
    if not args.only or KILL in args.only:
        killing.run(tap, args.rounds, args.seed)
    if "Python" in languages:
        install_package()
    for direct, calm in QUIET.items():
        group = [s for s in wanted if (s.relay is None) == direct]
        if not group:
            continue
        quiet_seconds = min(args.seconds, QUIET_SECONDS)
        before = run(tap, calm, quiet_seconds, args.seed)
        for scenario in group:
            if scenario is calm:
                continue
            rate = run(tap, scenario, args.seconds, args.seed)
            after = run(tap, calm, quiet_seconds, args.seed) if scenario.bar else before
            compare(tap, scenario, rate, (before + after) / 2)
            before = after
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
