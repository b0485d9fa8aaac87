"""Driver, Listener, Endpoint and Inbox for programs whose threads wait."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

from . import _lyquor
from ._base import LINGER, BaseDriver, BaseEndpoint, BaseInbox, BaseListener
from ._errors import ClosedError, ForkedError, TimedOut
from ._events import Event
from ._lyquor import Message

PATIENCE = 0.2  # seconds for which flush() waits before it asks


class Endpoint(BaseEndpoint):
    """A channel of messages to one remote program, in both directions; it outlives its connections.

    Driver.dial opens one, Listener.accept takes one. Looping over it hands out messages until the peer has ended;
    asking for the next one acknowledges the one before. If the endpoint ends for another reason than close, the loop
    raises it; PeerRestarted tells what became of messages when the peer came back without what it had.
    """

    _inbox: Inbox
    _recv: _lyquor.Iterator

    send = BaseEndpoint._send
    send_many = BaseEndpoint._send_many

    def __iter__(self) -> Iterator[Message]:
        return self._inbox._iterator(False)

    def items(self) -> Iterator[Message | Event]:
        """Messages and events in one order. It ends behind Closed, and raises nothing that an event says."""
        return self._inbox._iterator(True)

    def recv(self, timeout: float | None = None) -> Message:
        """The next message, which acknowledges the one that recv returned before, unless it is gone already.

        EOFError behind the last one.
        """
        try:
            it = self._recv
        except AttributeError:
            it = self._recv = self._inbox._iterator(False)
        message = it.next(timeout)
        if message is None:
            raise EOFError("the peer sends no more")
        return message  # type: ignore[no-any-return]

    def wait_up(self, timeout: float | None = None) -> None:
        """Wait until there is a connection. TimeoutError says why there is none."""
        try:
            if self._is_up() or _lyquor.wait(self._id, _lyquor.UP, timeout):
                return
        except ClosedError as error:
            raise self._why_closed(error) from None
        raise TimedOut(_lyquor.ETIMEDOUT, f"no connection to {self.address}; {self.explain() or 'nothing was sent'}")

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the peer has consumed all that was sent before. TimeoutError says what waits, and why."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        done = _lyquor.wait(self._id, _lyquor.ACKED, PATIENCE if timeout is None else min(timeout, PATIENCE))
        mine = self._asked + 1
        # A wait is about what was sent before it began; while others send, the answer tells when to leave off.
        while not (done or self._has_answer(mine)):
            left = end - time.monotonic()
            if left <= 0:
                raise TimedOut(_lyquor.ETIMEDOUT, self.explain() or "the peer has not consumed everything")
            done = _lyquor.wait(self._id, _lyquor.ACKED, min(left, PATIENCE))
            self._inbox._pump()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; False if it has not by then."""
        return _lyquor.wait(self._id, _lyquor.CLOSED, timeout)

    def quiesce(self, timeout: float | None = None) -> None:
        """Have nothing delivered until resume()."""
        _lyquor.quiesce(self._id, timeout)

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        linger = LINGER if kind is None else 0
        self.close(linger)
        with suppress(ForkedError):
            self.wait_closed(linger + 1)


class Inbox(BaseInbox):
    """The items of many endpoints, which take turns. Driver.inbox opens one; dial and listen take it.

    Looping over it hands out messages, each with its endpoint. It goes on when an endpoint ends in order, and raises
    what else happens to one, with the exception's endpoint: loop again then. items() hands out all of that as events.
    Several threads may loop over one inbox; each message goes to one of them.
    """

    _recv: _lyquor.Iterator

    def __iter__(self) -> Iterator[Message]:
        return self._iterator(False)

    def items(self) -> Iterator[Message | Event]:
        """Messages and events, of each endpoint in one order."""
        return self._iterator(True)

    def recv(self, timeout: float | None = None) -> Message:
        """The next message, which acknowledges the one that recv returned before. EOFError once the inbox is closed."""
        try:
            it = self._recv
        except AttributeError:
            it = self._recv = self._iterator(False)
        message = it.next(timeout)
        if message is None:
            raise EOFError("the inbox is closed")
        return message  # type: ignore[no-any-return]

    def __enter__(self) -> Inbox:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Listener(BaseListener[Endpoint]):
    """Accepts endpoints at one address. Looping over it hands them out."""

    _endpoint_class = Endpoint
    _inbox_class = Inbox

    def accept(self, timeout: float | None = None) -> Endpoint:
        """The next endpoint. TimeoutError; ClosedError once the listener is closed."""
        if self._shared is not None:
            raise TypeError("the listener was given an inbox: Accepted events in its items() tell of endpoints")
        event = None if self._closed else self._arrivals.next(timeout)
        if event is None:
            raise ClosedError(_lyquor.ECLOSED, "the listener is closed")
        return event.endpoint  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Endpoint]:
        while not self._closed:
            try:
                yield self.accept()
            except ClosedError:
                return

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Driver(BaseDriver[Endpoint, Listener, Inbox]):
    """A pool of worker threads. One is enough for a program; close it at the end, or use `with`.

    workers: threads, 1 to 64. busy_poll: for how many seconds a worker without work looks for some before it sleeps.
    memory_limit: bytes of all outboxes and of all windows, 1 GiB if 0. cpus: the CPU of each worker. name: prefix of
    the threads' names. balance: endpoints go from busy workers to others. portable: poll through Go's net, for tests.
    """

    _endpoint_class = Endpoint
    _listener_class = Listener
    _inbox_class = Inbox

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until it has ended after close(); False if it has not by then."""
        return _lyquor.wait(self._id, _lyquor.CLOSED, timeout)

    def quiesce(self, timeout: float | None = None) -> None:
        """Have nothing delivered by any of its endpoints until resume()."""
        _lyquor.quiesce(self._id, timeout)

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        linger = LINGER if kind is None else 0
        self.close(linger)
        with suppress(ForkedError):
            self.wait_closed(linger + 2)
