"""lyquor for coroutines: under asyncio, uvloop, trio, or anyio on any of them.

The classes are those of lyquor, by the same names; what waits there is awaited here. A call that finds what it needs
does not go through the event loop: a loop over messages takes what is there, and lets others run once a batch.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _bells, _lyquor
from ._base import LINGER, BaseDriver, BaseEndpoint, BaseInbox, BaseListener
from ._errors import ClosedError
from ._events import Event
from ._lyquor import Message

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Driver", "Endpoint", "Inbox", "Listener"]


class Inbox(BaseInbox):
    """The items of many endpoints, which take turns; see lyquor.Inbox. Coroutines of one event loop may use it."""

    def __init__(self, id: int, shared: bool) -> None:
        super().__init__(id, shared)
        self._bell: _bells.Bell | None = None

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._iterator(False)

    def items(self) -> AsyncIterator[Message | Event]:
        """Messages and events, of each endpoint in one order."""
        return self._iterator(True)

    async def recv(self) -> Message:
        """The next message, which acknowledges the one that recv returned before. EOFError once the inbox is closed."""
        try:
            return await self._receiver().__anext__()
        except StopAsyncIteration:
            raise EOFError("the inbox is closed") from None

    def close(self) -> None:
        """Close it, and its endpoints at once; what lies in it is dropped."""
        super().close()
        self._wake()

    async def __aenter__(self) -> Inbox:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.close()

    def _receiver(self) -> AsyncIterator[Message]:
        try:
            return self._recv
        except AttributeError:
            self._recv: AsyncIterator[Message] = self._iterator(False)
            return self._recv

    async def _next_later(self, it: _lyquor.Iterator, pause: bool) -> Any:
        """What an iterator's __anext__ returns if there is nothing, or others should have a turn before."""
        if pause:
            await _bells.pause()
        while (item := it.poll()) is None:
            await self._wait()
        return item

    async def _wait(self) -> None:
        """Waits until there is more in the inbox, or somebody has pulled something out; a moment once it is closed."""
        if self._closed:
            await _bells.sleep(0.01)
            return
        if self._bell is None or not self._bell.fits():
            if self._bell is not None:
                if self._bell.busy():
                    raise RuntimeError("coroutines of another event loop wait for the same")
                self._bell.close()
            self._bell = _bells.bell(_lyquor.inbox_fd(self._id))
            weakref.finalize(self, self._bell.close).atexit = False
        self._waits += 1
        try:
            await self._bell.wait()
        finally:
            self._waits -= 1

    def _wake(self) -> None:
        """Has those that wait look again. The extension calls it when something was pulled."""
        if self._bell is not None:
            self._bell.wake()


class Endpoint(BaseEndpoint):
    """A channel of messages to one remote program; see lyquor.Endpoint. Coroutines of one event loop may use it."""

    _inbox: Inbox

    def __aiter__(self) -> AsyncIterator[Message]:
        return self._inbox._iterator(False)

    def items(self) -> AsyncIterator[Message | Event]:
        """Messages and events in one order. It ends behind Closed, and raises nothing that an event says."""
        return self._inbox._iterator(True)

    send = BaseEndpoint._asend

    async def send_many(
        self, messages: Iterable[Buffer], *, channel: int = 0, lane: int = 0, ttl: float | None = None,
        lend: bool | None = None,
    ) -> int:  # fmt: skip
        """Send each message of an iterable, as send does, and return how many."""
        options: dict[str, Any] = {"channel": channel, "lane": lane, "ttl": ttl, "lend": lend}
        sent = 0
        for message in messages:
            if self._try(message, **options) is None:
                await self._send_later(message, options)
            sent += 1
        return sent

    async def _send_later(self, data: Any, options: dict[str, Any]) -> int:
        """Sends once there is room."""
        while True:
            rooms = self._rooms
            id = self._try(data, **options)
            if id is not None:
                return id
            while self._rooms == rooms and not self._ended:
                if self._inbox._pump() == 0:
                    await self._inbox._wait()
                    if self._inbox._closed:
                        break

    async def recv(self) -> Message:
        """The next message, which acknowledges the one that recv returned before. EOFError behind the last one."""
        try:
            return await self._receiver().__anext__()
        except StopAsyncIteration:
            raise EOFError("the peer sends no more") from None

    def _receiver(self) -> AsyncIterator[Message]:
        try:
            return self._recv
        except AttributeError:
            self._recv: AsyncIterator[Message] = self._inbox._iterator(False)
            return self._recv

    async def wait_up(self) -> None:
        """Wait until there is a connection. ClosedError, or why it closed, if there will be none."""
        while not self._is_up():
            if self._inbox._pump() == 0:
                await self._inbox._wait()

    async def flush(self) -> None:
        """Wait until the peer has consumed all that was sent before."""
        mine = self._asked + 1  # one that was asked for before may not be about all that was sent since
        while not self._has_answer(mine):
            if self._inbox._closed:  # where the answer would have come
                return await _poll(self._id, _lyquor.ACKED)
            if self._inbox._pump() == 0:
                await self._inbox._wait()

    async def wait_closed(self) -> None:
        """Wait until it has ended."""
        await _poll(self._id, _lyquor.CLOSED)

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close(LINGER if kind is None else 0)
        await self.wait_closed()


class Listener(BaseListener[Endpoint]):
    """Accepts endpoints at one address; see lyquor.Listener."""

    _endpoint_class = Endpoint
    _inbox_class = Inbox

    async def accept(self) -> Endpoint:
        """The next endpoint. ClosedError once the listener is closed."""
        if self._shared is not None:
            raise TypeError("the listener was given an inbox: Accepted events in its items() tell of endpoints")
        event = None if self._closed else await anext(self._arrivals, None)
        if event is None:
            raise ClosedError(_lyquor.ECLOSED, "the listener is closed")
        return event.endpoint  # type: ignore[no-any-return]

    async def __aiter__(self) -> AsyncIterator[Endpoint]:
        while not self._closed:
            try:
                yield await self.accept()
            except ClosedError:
                return

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: Any) -> None:
        self.close()


class Driver(BaseDriver[Endpoint, Listener, Inbox]):
    """A pool of worker threads; see lyquor.Driver."""

    _endpoint_class = Endpoint
    _listener_class = Listener
    _inbox_class = Inbox

    async def wait_closed(self) -> None:
        """Wait until it has ended after close()."""
        await _poll(self._id, _lyquor.CLOSED)

    async def __aenter__(self) -> Driver:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close(LINGER if kind is None else 0)
        await self.wait_closed()


async def _poll(id: int, until: int) -> None:
    """Waits for what no item tells of."""
    seconds = 0.0
    while not _lyquor.poll(id, until):
        await _bells.sleep(seconds)
        seconds = min(2 * seconds + 0.0001, 0.01)
