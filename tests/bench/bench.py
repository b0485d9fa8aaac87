#!/usr/bin/env python3
"""Measures lyquor beside libzmq and bare TCP, in rounds that take turns, so that a disturbance hits all of them alike.

Prints a table with the design's bars and writes docs/bench.json and docs/bench.svg. Absolute figures belong to one
machine on one day; only the ratios mean something elsewhere.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import contenders
import plot
import rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long one run should take (1.5)")
    parser.add_argument("--only", help="measure only contenders whose name contains this; writes no files")
    parser.add_argument("--row", help="measure only rows whose name contains this; writes no files")
    args = parser.parse_args()

    contenders.build()
    table = rows.rows()
    for row in table:
        row.contenders = [c for c in row.contenders if args.only is None or args.only in c.name]
        row.bars = row.bars if args.only is None else []
    table = [row for row in table if row.contenders and (args.row is None or args.row in row.name)]
    measured = [measure(row, args.rounds, args.seconds) for row in table]
    report = {"about": about(args), "rows": measured}
    print_bars(measured)
    if args.only is None and args.row is None:
        docs = contenders.ROOT / "docs"
        docs.mkdir(exist_ok=True)
        (docs / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
        (docs / "bench.svg").write_text(plot.svg(report))
        print("written: docs/bench.json docs/bench.svg")
    return 0


def measure(row, rounds, seconds):
    """All rounds of one row, and what they come to; prints a line for each contender."""
    for c in row.contenders:
        c.calibrate(row.pilot, max(seconds, row.seconds))
    if row.seconds > 0:
        most = max(c.count for c in row.contenders)
        for c in row.contenders:
            c.count = most
    results = {c.name: [] for c in row.contenders}
    for _ in range(rounds):
        for c in row.contenders:
            results[c.name].append(c.run(c.count))
    values = {c.name: [row.value(r) for r in results[c.name]] for c in row.contenders}
    out = {"row": row.name, "unit": row.unit, "contenders": [], "bars": []}
    for c in row.contenders:
        v = values[c.name]
        entry = {"name": c.name, "size": c.size, "median": statistics.median(v), "min": min(v), "max": max(v),
                 "rounds": v, "commands": c.text()}
        if row.unit == "us":
            entry["p99"] = statistics.median(r["p99_us"] for r in results[c.name])
        if "syscalls" in results[c.name][0]:
            entry["syscalls_per_message"] = statistics.median(
                r["syscalls"] / r["messages"] for r in results[c.name])
        out["contenders"].append(entry)
        print(line(row, entry), flush=True)
    for bar in row.bars:
        of = (lambda r: r["p99_us"]) if bar.p99 else row.value
        ratio = statistics.median(of(a) / of(b) for a, b in zip(results[bar.ours], results[bar.theirs]))
        holds = bar.holds(ratio, statistics.median(of(r) for r in results[bar.ours]))
        out["bars"].append({"what": bar.what(), "bar": bar.text(), "ratio": ratio, "holds": holds})
    return out


def line(row, entry):
    spread = f"[{row.figure(entry['min'])} .. {row.figure(entry['max'])}]"
    text = f"{row.name:18}{entry['name']:14}{row.figure(entry['median']):>12}  {spread:28}"
    if "p99" in entry:
        text += f"p99 {entry['p99']:.1f} us"
    if "syscalls_per_message" in entry:
        text += f"{entry['syscalls_per_message']:.4f} system calls a message"
    return text.rstrip()


def print_bars(measured):
    """Prints each bar with what was reached."""
    for row in measured:
        for bar in row["bars"]:
            verdict = "holds" if bar["holds"] else "misses"
            print(f"{verdict:8}{row['row']:18}{bar['what']:19}{bar['ratio']:.2f}  (bar: {bar['bar']})")


def about(args):
    """Where and when: enough to judge the figures, nothing about who ran them."""
    cpu = "unknown"
    for text in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            cpu = text.split(":", 1)[1].strip()
            break
    go = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(), "kernel": platform.release().split("-")[0], "cpu": cpu,
        "cores": os.cpu_count(), "go": go, "rounds": args.rounds, "seconds": args.seconds,
        "load_before": round(os.getloadavg()[2], 2),
    }


if __name__ == "__main__":
    sys.exit(main())
