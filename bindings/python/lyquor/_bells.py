"""How coroutines wait until something is in an inbox: under asyncio (also uvloop), or under trio (also anyio)."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from typing import Any, Protocol


class Bell(Protocol):
    """Rings when a descriptor becomes readable."""

    def fits(self) -> bool:
        """Whether the event loop that runs is the one that it was made for."""

    def busy(self) -> bool:
        """Whether its event loop runs, and somebody waits there."""

    async def wait(self) -> None:
        """Wait until it rings, or somebody calls wake."""

    def wake(self) -> None:
        """End all waits. From any thread."""

    def close(self) -> None:
        """End all waits for good. From any thread."""


class AsyncioBell:
    """Looks after a descriptor for as long as anybody waits, and once more."""

    def __init__(self, fd: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        # A copy, so that the number is nobody else's before the loop has forgotten it.
        self.fd = os.dup(fd)
        self.waiters: list[asyncio.Future[None]] = []
        self.looking = False

    def fits(self) -> bool:
        return not _in_trio() and self.loop is asyncio.get_running_loop()

    def busy(self) -> bool:
        return bool(self.waiters) and self.loop.is_running()

    async def wait(self) -> None:
        waiter = self.loop.create_future()
        self.waiters.append(waiter)
        if not self.looking:
            self.loop.add_reader(self.fd, self._ring)
            self.looking = True
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            raise

    def _ring(self) -> None:
        if not self.waiters:
            self.loop.remove_reader(self.fd)
            self.looking = False
        self.wake()

    def wake(self) -> None:
        if threading.get_ident() != self.thread:
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.wake)
            return
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        if self.fd < 0:
            return
        if self.loop.is_closed():
            os.close(self.fd)
            self.fd = -1
        elif threading.get_ident() == self.thread:
            if self.looking:
                self.loop.remove_reader(self.fd)
            os.close(self.fd)
            self.fd = -1
            self.wake()
        else:
            self.loop.call_soon_threadsafe(self.close)


class TrioBell:
    """One of those that wait looks after the descriptor, and wakes the others, of whom one is the next."""

    def __init__(self, fd: int) -> None:
        import trio

        self.trio = trio
        self.fd = os.dup(fd)
        self.token = trio.lowlevel.current_trio_token()
        self.thread = threading.get_ident()
        self.looking: Any = None  # the scope of the task that looks after the descriptor
        self.waiters: list[Any] = []

    def fits(self) -> bool:
        return _in_trio() and self.token is self.trio.lowlevel.current_trio_token()

    def busy(self) -> bool:
        return self.looking is not None

    async def wait(self) -> None:
        if self.looking is not None:
            event = self.trio.Event()
            self.waiters.append(event)
            await event.wait()
            return
        try:
            with self.trio.CancelScope() as self.looking:
                await self.trio.lowlevel.wait_readable(self.fd)
        finally:
            self.looking = None
            self.wake()

    def wake(self) -> None:
        if threading.get_ident() != self.thread:
            with suppress(self.trio.RunFinishedError):
                self.token.run_sync_soon(self.wake)
            return
        if self.looking is not None:
            self.looking.cancel()
        waiters, self.waiters = self.waiters, []
        for event in waiters:
            event.set()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def bell(fd: int) -> Bell:
    """A bell for the event loop that runs."""
    return TrioBell(fd) if _in_trio() else AsyncioBell(fd)


async def pause() -> None:
    """Let other coroutines run."""
    await sleep(0)


async def sleep(seconds: float) -> None:
    """Sleep under the event loop that runs."""
    if _in_trio():
        await sys.modules["trio"].sleep(seconds)
    else:
        await asyncio.sleep(seconds)


def _in_trio() -> bool:
    """Whether trio runs; it is not imported for that."""
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
