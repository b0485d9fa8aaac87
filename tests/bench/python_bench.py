#!/usr/bin/env python3
"""Measures the Python package beside pyzmq, zmq.asyncio and asyncio's streams, all in one run, in rounds that
alternate; a figure is the median of the rounds' ratios. Long messages are measured beside C over bare TCP, too: no
library above TCP moves many more bytes, whatever a bar says. Writes docs/bench-python.json, and says which bars hold.

It runs in the environment of the package's tests (build/python), which `make bench` fills."""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import contenders

PEER = [sys.executable, str(contenders.ROOT / "tests" / "bench" / "python_peer.py")]
PERF = [sys.executable, "-P", "-m", "lyquor.perf"]
LIMIT = 120  # seconds for one measurement
SIZES = (64, 1024, 65536)
LONG = 65536  # bytes: from here on bytes count, and reading in place and bare TCP are measured as well
# What is measured, and how many messages a second it is good for here, so that each takes about as long.
RATES = {"lyquor": 2_000_000, "lyquor.asyncio": 1_000_000, "zmq": 300_000, "zmq.asyncio": 20_000, "streams": 100_000}
LONG_RATES = {"lyquor view": 2_000_000, "lyquor.asyncio view": 2_000_000, "C": 2_000_000}
# (who, beside whom, mode, least ratio): messages a second, or the other's round trip over ours.
BARS = [("lyquor", "zmq", "thr", 3), ("lyquor.asyncio", "zmq.asyncio", "thr", 10), ("lyquor", "zmq", "lat", 1)]


def measure(who, mode, size, count):
    """The row that the connector reports; of C, the listener."""
    if who == "C":
        row = contenders.peer(who, "raw_thr", size).run(count)
        return {"messages_per_s": row["messages"] / row["seconds"]}
    mine = who.startswith("lyquor")
    if mine:
        command = [*PERF, mode, "--json", "--loop", "asyncio" if "asyncio" in who else "sync"]
        listen, to = [*command, "--listen", "tcp://127.0.0.1:0"], ["--size", str(size), "--count", str(count)]
        listen += ["--view"] * who.endswith("view")
    else:
        listen = [*PEER, who, mode, "listen", "0", str(size), str(count)]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
        if mine:
            where = listener.stderr.readline().split()[-1]
            connect = [*command, "--connect", where, *to]
        else:
            port = listener.stdout.readline().strip()
            connect = [*PEER, who, mode, "connect", port, str(size), str(count)]
        done = subprocess.run(connect, capture_output=True, text=True, timeout=LIMIT, check=False)
        listener.communicate(timeout=LIMIT)
    if done.returncode or listener.returncode:
        raise SystemExit(f"{who} {mode} {size}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[0])


def value_of(row, mode):
    return row["messages_per_s"] if mode == "thr" else 1e6 / row["p50_us"]


def rates_of(mode, size):
    """Who is measured, and its rate."""
    return RATES | LONG_RATES if mode == "thr" and size >= LONG else RATES


def rounds_of(args, mode, size):
    """A list of {who: value}, one for each round."""
    result = []
    for _ in range(args.rounds):
        row = {}
        for who, rate in rates_of(mode, size).items():
            count = args.trips if mode == "lat" else max(int(rate * args.seconds / max(1, size // 2048)), 100)
            row[who] = value_of(measure(who, mode, size, count), mode)
        result.append(row)
    return result


def ratio_of(rounds, who, other):
    return round(statistics.median(r[who] / r[other] for r in rounds), 2)


def judge(rounds, mode, size):
    """Says which bars hold in a row, and how near to bare TCP it comes; returns what is to be written."""
    rows = []
    for who, other, of, bar in BARS:
        if of != mode:
            continue
        row = {"who": who, "beside": other, "mode": mode, "size": size, "ratio": ratio_of(rounds, who, other)}
        row |= {"bar": bar, "holds": row["ratio"] >= bar}
        verdict = "holds " if row["holds"] else "misses"
        text = f"{verdict} {mode} {size:6} {who}: {row['ratio']:.2f} x {other}, bar {bar}"
        if "C" in rounds[0]:
            row |= {"of_c": ratio_of(rounds, who, "C"), "c_ratio": ratio_of(rounds, "C", other)}
            text += f"; {row['of_c']:.2f} x C over bare TCP, which itself is {row['c_ratio']:.2f} x {other}"
        print(text, flush=True)
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one measurement takes (1)")
    parser.add_argument("--trips", type=int, default=5000, help="round trips of one measurement (5000)")
    parser.add_argument("--size", type=int, choices=SIZES, help="measure only messages of this size; writes no file")
    parser.add_argument("--write", type=pathlib.Path, default=contenders.ROOT / "docs" / "bench-python.json")
    args = parser.parse_args()
    contenders.build()
    rows = []
    for mode, sizes in (("thr", SIZES), ("lat", SIZES[:1])):
        for size in sizes:
            if args.size not in (None, size):
                continue
            rounds = rounds_of(args, mode, size)
            for who in rounds[0]:
                median = statistics.median(r[who] for r in rounds)
                figure, unit = (median, "messages_per_s") if mode == "thr" else (1e6 / median, "p50_us")
                rows.append({"who": who, "mode": mode, "size": size, unit: round(figure, 1)})
                print(f"{mode} {size:6} {who:19} {figure:12.1f} {unit}", flush=True)
            rows += judge(rounds, mode, size)
    about = {"when": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "rounds": args.rounds}
    if args.size is None:
        args.write.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
