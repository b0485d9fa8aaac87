#!/usr/bin/env python3
"""Measures the Rust crate beside C and what Rust programs use else: the crates zmq (libzmq) and zenoh (peer to peer),
and bare tokio over TCP, all in one run, in rounds that take turns. Prints which bars hold, and writes
docs/bench-rust.json.

Each way to receive is held against the same way in C: a callback against a callback, a thread that gives back one
message after the other, or all at once that it pulled at once, against one that does the same. What is beside them
talks in plaintext; bare tokio acknowledges nothing and resumes nothing."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import bench
import contenders
import rows

ROOT = contenders.ROOT
HERE = pathlib.Path(__file__).resolve().parent
PERF = ROOT / "build" / "rust" / "release" / "examples" / "perf"
PEERS = ROOT / "build" / "bench" / "rust"
# How Rust receives, and the way in C that it is held against. What tasks do C does not.
WAYS = {"callback": ("callback", "C"), "loop": ("thread", "C, loop"), "batches": ("batch", "C, batches"),
        "tasks": ("task", None)}
BESIDE = {"zmq": "bench_zmq", "zenoh": "bench_zenoh", "bare tokio": "bench_tokio"}
SIZES = (64, 1024, 65536)


def build():
    """Compiles the example perf, and what is measured beside it, neither of them for the tests."""
    contenders.build()
    cargo = ["cargo", "build", "--quiet", "--release", "--locked"]
    library = os.environ | {"LYQUOR_LIB_DIR": str(ROOT / "build")}
    # tokio is a feature of the crate, which the other ways have to bear with.
    subprocess.run([*cargo, "--example", "perf", "--features", "tokio", "--target-dir", str(PERF.parents[2])],
                   cwd=ROOT / "bindings" / "rust" / "lyquor", env=library, check=True)
    subprocess.run([*cargo, "--target-dir", str(PEERS)], cwd=HERE / "rust", check=True)
    os.environ["LD_LIBRARY_PATH"] = str(ROOT / "build")


def tool(name, program, mode, size, way):
    options = ("--json", "--from", way)
    return contenders.Contender(name, [str(program), mode], size, mode == "thr", options)


def table():
    made = []
    for mode, size in [("thr", size) for size in SIZES] + [("lat", SIZES[0])]:
        lyqperf = ROOT / "build" / "lyqperf"
        ways = [way for way in WAYS if mode == "thr" or way != "batches"]  # there is one message at a time
        all_ = [tool(WAYS[way][1], lyqperf, mode, size, WAYS[way][0]) for way in ways if WAYS[way][1]]
        all_ += [tool(way, PERF, mode, size, WAYS[way][0]) for way in ways]
        for name, program in BESIDE.items():
            command = [str(PEERS / "release" / program), mode]
            all_.append(contenders.Contender(name, command, size, mode == "thr"))
        limit = {"least": 0.9} if mode == "thr" else {"most": 1.1}
        bars = [rows.Bar(way, WAYS[way][1], **limit) for way in ways if WAYS[way][1]]
        if mode == "lat":
            made.append(rows.Row(f"round trip, {size} B", "us", all_, bars, 3000))
        elif size <= 1024:
            made.append(rows.Row(f"{size} B", "messages/s", all_, bars, 200_000))
        else:
            made.append(rows.Row(f"{size} B", "bytes/s", all_, bars, 2000))
    return made


def versions():
    """What was measured: the compiler, and the crates as they are pinned."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout.split()
    lock = (HERE / "rust" / "Cargo.lock").read_text().split("[[package]]")
    found = {"rust": rustc[1] if len(rustc) > 1 else "unknown"}
    for package in lock:
        fields = dict(line.split(" = ", 1) for line in package.splitlines() if " = " in line)
        if (name := fields.get("name", "").strip('"')) in ("tokio", "zenoh", "zmq", "zeromq-src"):
            found[name] = fields["version"].strip('"')
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long one run should take (1)")
    parser.add_argument("--row", default="", help="measure only rows whose name contains this; writes no file")
    parser.add_argument("--write", type=pathlib.Path, help="where to (docs/bench-rust.json)")
    args = parser.parse_args()
    build()
    measured = [bench.measure(row, args.rounds, args.seconds) for row in table() if args.row in row.name]
    bench.print_bars(measured)
    write = args.write or (None if args.row else ROOT / "docs" / "bench-rust.json")
    if write:
        write.write_text(json.dumps({"about": bench.about(args) | versions(), "rows": measured}, indent=1) + "\n")
        print(f"written: {write}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
