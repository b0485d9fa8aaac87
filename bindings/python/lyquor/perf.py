"""python -m lyquor.perf: throughput and round trip between two processes, the same as lyqperf; either may be C.

thr: the connector sends COUNT messages over N endpoints, and waits until the listener has told on each how many
arrived. What a run is, it tells in a first message on channel PLAN of each. lat: one message at a time goes there and
back in the urgent lane. Both sides are the plain loops that a user would write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import lyquor
from lyquor import Lane, aio

DATA, PLAN, REPORT = range(3)  # channels
WAIT = 10.0
OPTIONS: dict[str, Any] = {"resume": 0}  # a run that lost its connection is no measurement


class Tally:
    """What a run is, and what of it has arrived."""

    def __init__(self) -> None:
        self.endpoints, self.count, self.size = 1, 0, 0
        self.messages = self.bytes = 0
        self.first = self.last = 0.0
        self.lock = threading.Lock()

    def plan(self, data: bytes) -> None:
        self.endpoints, self.count, self.size = struct.unpack("<QQQ", data)

    def add(self, messages: int, bytes: int, first: float) -> None:
        with self.lock:
            self.messages += messages
            self.bytes += bytes
            self.first = min(self.first or first, first)
            self.last = time.perf_counter()

    def report(self) -> bytes:
        return struct.pack("<Q", self.messages)


def show_throughput(o: argparse.Namespace, role: str, tally: Tally, seconds: float, driver: Any) -> None:
    c = driver.counters()
    row = {
        "role": role, "mode": "thr", "size": tally.size, "count": tally.count, "messages": tally.messages,
        "bytes": tally.bytes, "seconds": round(seconds, 6), "messages_per_s": round(tally.messages / seconds),
        "mb_per_s": round(tally.bytes / seconds / 1e6, 3), "endpoints": tally.endpoints, "reads": c.reads,
        "writes": c.writes, "sleeps": c.sleeps, "syscalls": c.reads + c.writes + c.polls + c.wakes,
    }  # fmt: skip
    if o.json:
        print(json.dumps(row, separators=(",", ":")), flush=True)
        return
    verb = "received" if role == "listen" else "sent"
    print(
        f"{verb}: size {tally.size}, count {tally.count}: {tally.messages} messages, {tally.bytes} bytes in "
        f"{seconds:.3f} s: {row['messages_per_s']} messages/s, {row['mb_per_s']:.1f} MB/s; {tally.endpoints} endpoints",
        flush=True,
    )


def show_latency(o: argparse.Namespace, trips: list[float]) -> None:
    trips = sorted(trip * 1e6 for trip in trips)
    p50, p99, mean = trips[len(trips) // 2], trips[len(trips) - 1 - len(trips) // 100], sum(trips) / len(trips)
    if o.json:
        row = {"role": "connect", "mode": "lat", "from": o.loop, "size": o.size, "count": o.count,
               "p50_us": round(p50, 3), "p99_us": round(p99, 3), "mean_us": round(mean, 3)}  # fmt: skip
        print(json.dumps(row, separators=(",", ":")), flush=True)
        return
    print(
        f"round trip from {o.loop}, size {o.size}, count {o.count}: median {p50:.1f} us, 99 % below {p99:.1f} us, "
        f"mean {mean:.1f} us",
        flush=True,
    )


def say_where(listener: Any) -> None:
    print(f"listening on {listener.address}", file=sys.stderr, flush=True)


# ---- Threads.


def count_sync(o: argparse.Namespace, ep: lyquor.Endpoint, tally: Tally) -> None:
    """Takes all messages of an endpoint, and tells how many there were."""
    messages = size = 0
    first = time.perf_counter()
    if o.view:
        for msg in ep:
            messages += 1
            with msg.view() as view:
                size += len(view)
    else:
        for msg in ep:
            messages += 1
            size += len(msg.data)
    tally.add(messages, size, first)


def listen_throughput(o: argparse.Namespace, driver: lyquor.Driver) -> None:
    tally = Tally()
    with driver.listen(o.listen, **OPTIONS) as listener:
        say_where(listener)
        eps = [listener.accept()]
        tally.plan(eps[0].recv().data)
        eps += [listener.accept(WAIT) for _ in range(tally.endpoints - 1)]
    for ep in eps[1:]:
        ep.recv(WAIT)
    threads = [threading.Thread(target=count_sync, args=(o, ep, tally), daemon=True) for ep in eps[1:]]
    for thread in threads:
        thread.start()
    count_sync(o, eps[0], tally)
    for thread in threads:
        thread.join()
    for ep in eps:
        ep.send(tally.report(), channel=REPORT)  # whoever has it may close
    show_throughput(o, "listen", tally, tally.last - tally.first, driver)
    for ep in eps:
        ep.close()
        ep.wait_closed(WAIT)


def connect_throughput(o: argparse.Namespace, driver: lyquor.Driver) -> None:
    tally = Tally()
    tally.plan(plan := struct.pack("<QQQ", o.endpoints, o.count, o.size))
    data = bytes(o.size)
    eps = [driver.dial(o.connect, outbox_bytes=o.outbox, **OPTIONS) for _ in range(o.endpoints)]
    for ep in eps:
        ep.wait_up(WAIT)
        ep.send(plan, channel=PLAN)
    start = time.perf_counter()
    if o.endpoints == 1:
        (ep,) = eps
        for _ in range(o.count):
            ep.send(data)
    else:
        for i in range(o.count):
            eps[i % o.endpoints].send(data)
    for ep in eps:
        ep.end()
    for ep in eps:
        tally.messages = max(tally.messages, struct.unpack("<Q", ep.recv().data)[0])
    tally.bytes = tally.messages * o.size
    show_throughput(o, "connect", tally, time.perf_counter() - start, driver)
    for ep in eps:
        ep.close()


def listen_latency(o: argparse.Namespace, driver: lyquor.Driver) -> None:
    with driver.listen(o.listen, **OPTIONS) as listener:
        say_where(listener)
        ep = listener.accept()
    for msg in ep:
        ep.send(msg, lane=Lane.URGENT)
    ep.close()


def connect_latency(o: argparse.Namespace, driver: lyquor.Driver) -> None:
    data, trips, warm = bytes(o.size), [], o.count // 10
    with driver.dial(o.connect, **OPTIONS) as ep:
        ep.wait_up(WAIT)
        for i in range(warm + o.count):
            start = time.perf_counter()
            ep.send(data, lane=Lane.URGENT)
            ep.recv()
            if i >= warm:
                trips.append(time.perf_counter() - start)
    show_latency(o, trips)


# ---- Coroutines.


async def alisten_throughput(o: argparse.Namespace, driver: aio.Driver) -> None:
    tally = Tally()
    async with driver.listen(o.listen, **OPTIONS) as listener:
        say_where(listener)
        ep = await listener.accept()
    tally.plan((await ep.recv()).data)
    if tally.endpoints > 1:
        raise SystemExit("lyquor.perf: --loop asyncio serves one endpoint")
    messages = size = 0
    first = time.perf_counter()
    if o.view:
        async for msg in ep:
            messages += 1
            with msg.view() as view:
                size += len(view)
    else:
        async for msg in ep:
            messages += 1
            size += len(msg.data)
    tally.add(messages, size, first)
    await ep.send(tally.report(), channel=REPORT)  # whoever has it may close
    show_throughput(o, "listen", tally, tally.last - tally.first, driver)
    ep.close()
    await ep.wait_closed()


async def aconnect_throughput(o: argparse.Namespace, driver: aio.Driver) -> None:
    tally = Tally()
    tally.plan(plan := struct.pack("<QQQ", 1, o.count, o.size))
    data = bytes(o.size)
    async with driver.dial(o.connect, outbox_bytes=o.outbox, **OPTIONS) as ep:
        await ep.wait_up()
        await ep.send(plan, channel=PLAN)
        start = time.perf_counter()
        for _ in range(o.count):
            await ep.send(data)
        ep.end()
        tally.messages = struct.unpack("<Q", (await ep.recv()).data)[0]
        tally.bytes = tally.messages * o.size
        show_throughput(o, "connect", tally, time.perf_counter() - start, driver)


async def alisten_latency(o: argparse.Namespace, driver: aio.Driver) -> None:
    async with driver.listen(o.listen, **OPTIONS) as listener:
        say_where(listener)
        ep = await listener.accept()
    async for msg in ep:
        await ep.send(msg, lane=Lane.URGENT)
    ep.close()


async def aconnect_latency(o: argparse.Namespace, driver: aio.Driver) -> None:
    data, trips, warm = bytes(o.size), [], o.count // 10
    async with driver.dial(o.connect, **OPTIONS) as ep:
        await ep.wait_up()
        for i in range(warm + o.count):
            start = time.perf_counter()
            await ep.send(data, lane=Lane.URGENT)
            await ep.recv()
            if i >= warm:
                trips.append(time.perf_counter() - start)
    show_latency(o, trips)


async def arun(o: argparse.Namespace, act: Callable[..., Any]) -> None:
    async with aio.Driver(o.workers, busy_poll=o.busy_poll / 1e6) as driver:
        await act(o, driver)


# ---- The command line.


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"lyquor.perf: {message}\n{self.format_usage()}")


def between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isdecimal() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text}: a number from {low} to {high} is allowed")

    return number


def parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m lyquor.perf",
        description="thr: messages and bytes per second; lat: round trip of one message at a time.",
        epilog="Start the listener first; with port 0 it says on standard error where it listens. Both report, then "
        "exit. Exit status: 0 done; 1 wrong usage; 2 failed.",
    )
    p.add_argument("mode", choices=("thr", "lat"))
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="ADDRESS")
    where.add_argument("--connect", metavar="ADDRESS")
    p.add_argument("--size", type=between(1, 1 << 20), default=64, metavar="BYTES", help="of a message (64)")
    p.add_argument("--count", type=between(1, 1 << 40), metavar="MESSAGES", help="in all (1000000; lat 100000)")
    p.add_argument("--endpoints", type=between(1, 4096), default=1, metavar="N", help="thr: to spread them over (1)")
    p.add_argument("--loop", choices=("sync", "asyncio"), default="sync", help="how this side waits (sync)")
    p.add_argument("--view", action="store_true", help="thr: read messages where they lie instead of copying them")
    p.add_argument("--workers", type=between(1, 64), default=2, metavar="N", help="threads of the driver (2)")
    p.add_argument("--busy-poll", type=between(0, 1000000), default=0, metavar="US", help="before a worker sleeps (0)")
    p.add_argument("--outbox", type=between(1 << 16, 1 << 27), default=0, metavar="BYTES", help="cap on what waits")
    p.add_argument("--json", action="store_true", help="print one line of JSON instead of words")
    p.add_argument("--version", action="version", version=f"lyquor.perf {lyquor.__version__}")
    return p


def main() -> int:
    """The program; returns its exit status."""
    o = parser().parse_args()
    if o.loop == "asyncio" and o.endpoints > 1:
        parser().error("--loop asyncio takes one endpoint")
    o.count = o.count or (1_000_000 if o.mode == "thr" else 100_000)
    name = ("listen" if o.listen else "connect") + ("_throughput" if o.mode == "thr" else "_latency")
    try:
        if o.loop == "asyncio":
            asyncio.run(arun(o, globals()["a" + name]))
        else:
            with lyquor.Driver(o.workers, busy_poll=o.busy_poll / 1e6) as driver:
                globals()[name](o, driver)
    except (lyquor.LyquorError, EOFError) as error:
        print(f"lyquor.perf: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
