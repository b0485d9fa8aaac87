#!/usr/bin/env python3
"""Measures the Python package beside pyzmq, zmq.asyncio and asyncio's streams, all in one run, in rounds that
alternate; a figure is the median of the rounds' ratios. Writes docs/bench-python.json, and says which bars hold.

It runs in the environment of the package's tests (build/python), which `make bench` fills."""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = [sys.executable, str(ROOT / "tests" / "bench" / "python_peer.py")]
PERF = [sys.executable, "-P", "-m", "lyquor.perf"]
LIMIT = 120  # seconds for one measurement
SIZES = (64, 1024, 65536)
# What is measured, and how many messages a second it is good for here, so that each takes about as long.
RATES = {"lyquor": 2_000_000, "lyquor.asyncio": 1_000_000, "zmq": 300_000, "zmq.asyncio": 20_000, "streams": 100_000}
# (who, beside whom, mode, least ratio): messages a second, or the other's round trip over ours.
BARS = [("lyquor", "zmq", "thr", 3), ("lyquor.asyncio", "zmq.asyncio", "thr", 10), ("lyquor", "zmq", "lat", 1)]


def measure(who, mode, size, count):
    """The row that the connector reports."""
    mine = who.startswith("lyquor")
    if mine:
        command = [*PERF, mode, "--json", "--loop", "asyncio" if who.endswith("asyncio") else "sync"]
        listen, to = [*command, "--listen", "tcp://127.0.0.1:0"], ["--size", str(size), "--count", str(count)]
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


def rounds_of(args, mode, size):
    """A list of {who: value}, one for each round."""
    result = []
    for _ in range(args.rounds):
        row = {}
        for who, rate in RATES.items():
            count = args.trips if mode == "lat" else max(int(rate * args.seconds / max(1, size // 2048)), 100)
            row[who] = value_of(measure(who, mode, size, count), mode)
        result.append(row)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one measurement takes (1)")
    parser.add_argument("--trips", type=int, default=5000, help="round trips of one measurement (5000)")
    parser.add_argument("--write", type=pathlib.Path, default=ROOT / "docs" / "bench-python.json")
    args = parser.parse_args()
    rows, failed = [], 0
    for mode, sizes in (("thr", SIZES), ("lat", SIZES[:1])):
        for size in sizes:
            rounds = rounds_of(args, mode, size)
            for who in RATES:
                median = statistics.median(r[who] for r in rounds)
                row = {"who": who, "mode": mode, "size": size}
                figure, unit = (median, "messages_per_s") if mode == "thr" else (1e6 / median, "p50_us")
                rows.append({**row, unit: round(figure, 1)})
                print(f"{mode} {size:6} {who:15} {figure:12.1f} {unit}", flush=True)
            for who, other, of, bar in BARS:
                if of == mode:
                    ratio = statistics.median(r[who] / r[other] for r in rounds)
                    failed += ratio < bar
                    rows.append({"who": who, "beside": other, "mode": mode, "size": size, "ratio": round(ratio, 2)})
                    verdict = "ok  " if ratio >= bar else "FAIL"
                    print(f"{verdict} {mode} {size:6} {who}: {ratio:.2f} x {other}, bar {bar}", flush=True)
    about = {"when": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "rounds": args.rounds}
    args.write.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
