"""What is used is given back."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable

import lyquor
from conftest import PATIENCE, Pair, eventually
from lyquor import aio


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def exchange(pair: Pair, count: int) -> None:
    data = memoryview(bytes(64))
    thread = threading.Thread(target=lambda: [pair.a.send(data, channel=1) for _ in range(count)])
    thread.start()
    it = iter(pair.b)
    for i in range(count):
        msg = next(it)
        if i % 3 == 0:
            msg.data  # noqa: B018
        elif i % 3 == 1:
            bytes(msg.view())
    thread.join(PATIENCE)


def test_a_million_messages(pair: Pair) -> None:
    exchange(pair, 100_000)
    gc.collect()
    before = resident()
    for _ in range(10):
        exchange(pair, 100_000)
    gc.collect()
    assert resident() < before + (16 << 20), "16 bytes a message would show"


def test_objects_are_freed(pair: Pair) -> None:
    def work() -> None:
        exchange(pair, 1000)
        pair.a.send(b"x" * 100_000)
        pair.b.recv(PATIENCE).release()
        pair.a.flush(PATIENCE)
        pair.a.send_many([b"x"] * 10)
        for _ in range(10):
            pair.b.recv(PATIENCE).view().release()
        try:
            pair.a.send(b"x", lane=9)
        except ValueError:
            pass
        list(pair.b._inbox._iterator(True).poll() for _ in range(3))

    for _ in range(5):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            work()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < before + 20 * 64, "an object a round would show"


def test_endpoints_come_and_go(driver: lyquor.Driver) -> None:
    def visit(listener: lyquor.Listener) -> None:
        ep = driver.dial(listener.address)
        ep.send(b"x")
        peer = listener.accept(PATIENCE)
        peer.recv(PATIENCE)
        ep.self = ep  # type: ignore[attr-defined]
        peer.kept = peer.items()  # type: ignore[attr-defined]
        ep.close(0), peer.close(0)

    with driver.listen("mem://come-and-go") as listener:
        visit(listener)
        gc.collect()
        eventually(lambda: lyquor.process_counters().handles <= 4)
        before = lyquor.process_counters()
        for _ in range(100):
            visit(listener)
        gc.collect()
        eventually(lambda: lyquor.process_counters().handles <= before.handles)
        eventually(lambda: lyquor.process_counters().parcels <= before.parcels)


def test_coroutines_leave_no_descriptor() -> None:
    import os

    async def main() -> None:
        async with aio.Driver() as driver, driver.listen("mem://descriptors") as listener:
            for _ in range(20):
                async with driver.dial("mem://descriptors") as ep:
                    peer, _ = await asyncio.gather(listener.accept(), ep.wait_up())
                    await ep.send(b"x")
                    ep.close(0), peer.close(0)

    counts: list[int] = []
    check: Callable[[], int] = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731
    for _ in range(4):
        asyncio.run(main())
        gc.collect()
        counts.append(check())
    eventually(lambda: check() <= counts[0])
