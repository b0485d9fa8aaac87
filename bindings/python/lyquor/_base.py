"""What the classes of lyquor and lyquor.aio have in common: all that does not wait."""

from __future__ import annotations

import atexit
import math
import os
import warnings
import weakref
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar

from . import _logging, _lyquor
from ._errors import ClosedError, LyquorError, error_of
from ._events import Accepted, Event, Lane, OnRestart, TimerDue, make_event, remote_of, why_of

LINGER = 5.0
"""Seconds for which what was sent may still be delivered after close(), unless it is told otherwise."""


def milliseconds(what: str, seconds: float | None, *, never: int | None = None, none: int = 0) -> int:
    """Seconds as milliseconds for C; never stands for math.inf, none for None. Above 0 it is 1 at least."""
    if seconds is None:
        return none
    if never is not None and seconds == math.inf:
        return never
    if not 0 <= seconds <= 2e6:
        raise ValueError(f"{what} is {seconds}; seconds are allowed, 0 to 2 000 000")
    return max(math.ceil(seconds * 1000), 1) if seconds else 0


def whole(what: str, number: int) -> int:
    """A number that fits into C; 0 stands for the default."""
    if not isinstance(number, int):
        raise TypeError(f"{what} is {number!r}; a whole number is allowed, or 0 for the default")
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{what} is {number}; a number above 0 is allowed, or 0 for the default")
    return number


class EndpointCounters(NamedTuple):
    """Counters of an endpoint: see enum lyq_counter in lyquor.h."""

    msgs_sent: int
    bytes_sent: int
    msgs_received: int
    bytes_received: int
    queued: int
    queued_bytes: int
    held_bytes: int
    rtt_ns: int
    worker: int
    withdrawn: int
    window_bytes: int
    outbox_bytes: int


class WorkerCounters(NamedTuple):
    """Counters of a worker, or the sums of a driver's: see enum lyq_worker_counter in lyquor.h."""

    turns: int
    wakes: int
    notices: int
    polls: int
    sleeps: int
    reads: int
    writes: int
    bytes_read: int
    bytes_written: int
    frames: int
    budget_cuts: int
    timers: int
    timer_late_ns: int
    slow_callbacks: int
    endpoints: int
    moves: int


class ProcessCounters(NamedTuple):
    """Counters of the process: see enum lyq_process_counter in lyquor.h."""

    handles: int
    log_bytes: int
    block_bytes: int
    parcels: int
    heap_bytes: int
    goroutines: int


def process_counters() -> ProcessCounters:
    """What the library holds in this process now. What keeps growing is held by the program, or lost."""
    return ProcessCounters(*_lyquor.process_counters()[: len(ProcessCounters._fields)])


class Unpicklable:
    """A live thing of this process."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"cannot pickle {type(self).__name__}: it lives in this process; give the other one its address instead"
        )


class Timer(Unpicklable):
    """A timer: items() of what it goes with hands out TimerDue with it, once."""

    __slots__ = ("_id",)

    def __init__(self, id: int) -> None:
        self._id = id

    def cancel(self) -> None:
        """It will not be due, unless it is already. Never waits."""
        _lyquor.close(self._id, 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timer) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)


class BaseEndpoint(Unpicklable, _lyquor.Endpoint):
    """An endpoint, but for what waits."""

    def end(self) -> None:
        """Send no more messages: behind those sent, the peer gets Ended. Receiving goes on."""
        _lyquor.end(self._id)

    def close(self, linger: float | None = LINGER) -> None:
        """End it. What was sent is still delivered for linger seconds (math.inf: as long as it takes).

        The message that was handed out last is acknowledged, unless linger is 0. Never waits, and may be called again:
        the shortest time counts.
        """
        self._closing(linger != 0)
        _lyquor.close(self._id, milliseconds("linger", linger, never=-1))

    def switch(self, address: str) -> None:
        """Have an endpoint that was dialled live at another address from now on. Nothing is lost. Never waits."""
        _lyquor.switch(self._id, address)

    def set_worker(self, worker: int) -> None:
        """Have the driver's worker of that number, from 1, drive it from now on; 0: the library chooses."""
        _lyquor.set_worker(self._id, worker)

    def ack(self, id: int, lane: Lane = Lane.NORMAL) -> None:
        """With manual_ack: acknowledge all messages of that lane up to the one with that id."""
        _lyquor.ack(self._id, lane, id)

    def explain(self) -> str:
        """A line for each lane that has something queued: how much, and why the oldest waits."""
        return _lyquor.explain(self._id)

    def counters(self) -> EndpointCounters:
        """What it has sent and received, and holds now."""
        return EndpointCounters(*_lyquor.counters(self._id)[: len(EndpointCounters._fields)])

    def resume(self) -> None:
        """Deliver again after quiesce()."""
        _lyquor.resume(self._id)

    @property
    def address(self) -> str:
        """The peer's address, in the form that dial takes."""
        return _lyquor.address(self._id)

    @property
    def inbox(self) -> Any:
        """The inbox that it was dialled or accepted with; None if it has one of its own."""
        return None if self._own else self._inbox

    def fileno(self) -> int:
        """A descriptor that polls readable while something is there: never read or close it."""
        return _lyquor.inbox_fd(self._inbox._id)

    def _is_up(self) -> bool:
        """Whether there is a connection; raises why there will be none."""
        try:
            if not self._ended:
                return _lyquor.poll(self._id, _lyquor.UP)
        except ClosedError as error:
            raise self._why_closed(error) from None
        raise self._why_closed(ClosedError(_lyquor.ECLOSED))

    def _has_answer(self, number: int) -> bool:
        """Whether all is consumed that was sent before that answer was asked for; raises why it will not be."""
        try:
            if self._answered(number):
                return True
            if not self._ended:
                return False
        except ClosedError as error:
            raise self._why_closed(error) from None
        raise self._why_closed(ClosedError(_lyquor.ECLOSED))

    def _why_closed(self, error: ClosedError) -> Exception:
        """Why it is closed, if that is known."""
        if self._own:
            self._inbox._pump()
        return error_of(self._code, why_of(self._detail)) if self._ended and self._code else error

    def _refusal(self) -> ClosedError:
        """What sending raises once it is closed. The extension calls it."""
        closed = ClosedError(_lyquor.ECLOSED)
        why = self._why_closed(closed)
        return closed if why is closed else ClosedError(_lyquor.ECLOSED, str(why))

    def __repr__(self) -> str:
        try:
            where = _lyquor.address(self._id)
        except LyquorError:
            where = "closed"
        return f"<{type(self).__module__}.{type(self).__name__} {where}>"


class BaseInbox(Unpicklable, _lyquor.Inbox):
    """An inbox, but for what waits."""

    def __init__(self, id: int, shared: bool) -> None:
        self._listeners: weakref.WeakValueDictionary[int, BaseListener[Any]] = weakref.WeakValueDictionary()

    def close(self) -> None:
        """Close it, and its endpoints at once; what lies in it is dropped."""
        for endpoint in self._endpoints:
            endpoint.close(0)
        _lyquor.close(self._id, 0)

    def fileno(self) -> int:
        """A descriptor that polls readable while something is there: never read or close it."""
        return _lyquor.inbox_fd(self._id)

    def _event(
        self, kind: int, code: int, lane: int, token: int, id: int, endpoint: Any, detail: bytes, account: Any,
        unacked: Any,
    ) -> Event | None:
        """The event of an item that was taken out; None if nobody need hear of it. The extension calls it."""
        if kind == _lyquor.TIMER:
            return TimerDue(endpoint, Timer(token))
        if kind != _lyquor.ACCEPTED:
            return make_event(kind, code, lane, token, endpoint, detail, account, unacked)
        listener = self._listeners.get(token)
        if listener is None:
            _lyquor.close(id, 0)
            return None
        try:
            accepted = listener._admit(id)
        except ClosedError:
            return None
        return Accepted(accepted, listener, remote_of(detail))


E = TypeVar("E", bound=BaseEndpoint)
I = TypeVar("I", bound=BaseInbox)  # noqa: E741
L = TypeVar("L", bound="BaseListener[Any]")


class BaseListener(Unpicklable, Generic[E]):
    """A listener, but for what waits."""

    _endpoint_class: type[E]
    _inbox_class: type[Any]

    def __init__(self, driver: int, id: int, lobby: Any, shared: Any) -> None:
        self._driver, self._id, self._lobby, self._shared = driver, id, lobby, shared
        self._closed = False
        lobby._listeners[id] = self
        self._arrivals = lobby._iterator(True)

    def _admit(self, id: int) -> E:
        """Gives an endpoint that was accepted its inbox."""
        if self._shared is not None:
            endpoint = self._endpoint_class(id, self._shared, False)
            self._shared._adopt(endpoint)
            try:
                _lyquor.inbox_bind(self._shared._id, id)
            except BaseException:
                self._shared._disown(endpoint)
                endpoint._closing(False)
                raise
            return endpoint
        inbox = self._inbox_class(_lyquor.inbox_open(self._driver), False)
        _lyquor.inbox_bind(inbox._id, id)
        return self._endpoint_class(id, inbox, True)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose."""
        return _lyquor.address(self._id)

    def close(self) -> None:
        """Stop listening. What was accepted lives on; what nobody has taken yet is closed. Never waits."""
        self._closed = True
        _lyquor.close(self._id, 0)
        if self._shared is None:
            self._lobby.close()

    def __repr__(self) -> str:
        try:
            where = "closed" if self._closed else _lyquor.address(self._id)
        except LyquorError:
            where = "closed"
        return f"<{type(self).__module__}.{type(self).__name__} {where}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not _lyquor_forked() and not _gone(self._id):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()


class BaseDriver(Unpicklable, Generic[E, L, I]):
    """A driver, but for what waits."""

    _endpoint_class: ClassVar[Any]
    _listener_class: ClassVar[Any]
    _inbox_class: ClassVar[Any]

    def __init__(
        self,
        workers: int = 2,
        *,
        busy_poll: float = 0,
        memory_limit: int = 0,
        cpus: tuple[int, ...] = (),
        name: str | None = None,
        balance: bool = True,
        portable: bool = False,
    ) -> None:
        self._closed = True
        if not 1 <= workers <= 64:
            raise ValueError(f"workers is {workers}; 1 to 64 are allowed")
        if not 0 <= busy_poll <= 1:
            raise ValueError(f"busy_poll is {busy_poll}; 0 to 1 second are allowed")
        whole("memory_limit", memory_limit)
        if cpus and len(cpus) != workers:
            raise ValueError(f"{len(cpus)} cpus are given for {workers} workers; one each is needed")
        flags = (0 if balance else _lyquor.NO_BALANCE) | (_lyquor.PORTABLE if portable else 0)
        self._id = _lyquor.driver_open(workers, round(busy_poll * 1e6), flags, tuple(cpus), name, memory_limit)
        self._closed = False
        _logging.start()
        _live.add(self)

    def dial(
        self,
        address: str,
        *,
        inbox: I | None = None,
        worker: int = 0,
        outbox_bytes: int = 0,
        window_bytes: int = 0,
        max_message: int = 0,
        keepalive: float | None = None,
        connect_timeout: float | None = None,
        resume: float | None = None,
        on_restart: OnRestart = OnRestart.REPORT,
        manual_ack: bool = False,
    ) -> E:
        """Open an endpoint to an address such as "tcp://127.0.0.1:7000", and return at once: messages may be sent.

        Zero and None mean the default. inbox: where its items go, together with those of others; else it has one
        of its own. worker: the number of the worker that drives it, from 1; else where the load is least.
        outbox_bytes, window_bytes: caps for each lane on what was sent and not acknowledged, and on what the peer
        may send beyond what was consumed (128 MiB). max_message: the longest message that is taken from the peer,
        in bytes (1 MiB). keepalive: seconds of silence after which the peer is pinged (15; math.inf: never).
        connect_timeout: seconds for connecting, and again for the handshake (10). resume: for how many seconds it
        outlives a lost connection, or none at first (math.inf, the default: for ever; 0: not at all). on_restart:
        what becomes of what a peer that has restarted had not acknowledged. manual_ack: messages are acknowledged
        by ack() alone.
        """
        options = self._opening(
            address, inbox, worker, outbox_bytes, window_bytes, max_message, keepalive, connect_timeout, resume,
            on_restart, manual_ack,
        )  # fmt: skip
        own = inbox is None
        where: Any = self._inbox_class(_lyquor.inbox_open(self._id), False) if inbox is None else inbox
        endpoint: E = self._endpoint_class(0, where, own)
        _lyquor.dial(endpoint, self._id, *options, where._id)
        return endpoint

    def listen(
        self,
        address: str,
        *,
        inbox: I | None = None,
        worker: int = 0,
        outbox_bytes: int = 0,
        window_bytes: int = 0,
        max_message: int = 0,
        keepalive: float | None = None,
        connect_timeout: float | None = None,
        resume: float | None = None,
        on_restart: OnRestart = OnRestart.REPORT,
        manual_ack: bool = False,
    ) -> L:
        """Listen at an address such as "tcp://127.0.0.1:7000" or "tcp://[::]:0" (any port: listener.address tells).

        The options are those of the endpoints that it accepts, as of dial(); resume is 60 seconds by default. With
        an inbox all that they get goes there, beginning with Accepted; else accept() returns them one by one.
        """
        options = self._opening(
            address, inbox, worker, outbox_bytes, window_bytes, max_message, keepalive, connect_timeout, resume,
            on_restart, manual_ack,
        )  # fmt: skip
        lobby: Any = self._inbox_class(_lyquor.inbox_open(self._id), True) if inbox is None else inbox
        id = _lyquor.listen(None, self._id, *options, lobby._id)
        listener: L = self._listener_class(self._id, id, lobby, inbox)
        return listener

    def _opening(
        self, address: str, inbox: I | None, worker: int, outbox_bytes: int, window_bytes: int, max_message: int,
        keepalive: float | None, connect_timeout: float | None, resume: float | None, on_restart: OnRestart,
        manual_ack: bool,
    ) -> tuple[str, int, int, int, int, int, int, int, int, bool]:  # fmt: skip
        """What dial and listen were given, as C has it."""
        if not isinstance(address, str):
            raise TypeError(f'an address is a str such as "tcp://127.0.0.1:7000", not {address!r}')
        if inbox is not None and not isinstance(inbox, self._inbox_class):
            kind = f"{self._inbox_class.__module__}.{self._inbox_class.__name__}"
            raise TypeError(f"inbox is {inbox!r}; a {kind} is needed: inbox() of such a driver opens one")
        return (
            address, whole("worker", worker), whole("outbox_bytes", outbox_bytes), whole("window_bytes", window_bytes),
            whole("max_message", max_message), milliseconds("keepalive", keepalive, never=-1),
            milliseconds("connect_timeout", connect_timeout), _resume(resume), OnRestart(on_restart), manual_ack,
        )  # fmt: skip

    def inbox(self) -> I:
        """Open an inbox for the items of many endpoints."""
        inbox: I = self._inbox_class(_lyquor.inbox_open(self._id), True)
        return inbox

    def timer(self, delay: float, target: E | I) -> Timer:
        """Have a TimerDue event come to an inbox, or to the inbox of an endpoint, in that many seconds."""
        at = _lyquor.now(self._id) + round(delay * 1e9) if delay > 0 else 0
        return Timer(_lyquor.timer_open(self._id, target._id, max(at, 0)))

    def now(self) -> float:
        """The driver's clock: seconds since some start, never backwards."""
        return _lyquor.now(self._id) / 1e9

    def explain(self) -> str:
        """What its endpoints wait for, in words."""
        return _lyquor.explain(self._id)

    def counters(self, worker: int = 0) -> WorkerCounters:
        """The counters of a worker, from 1, or the sums of all."""
        all = _lyquor.worker_counters(self._id, worker) if worker else _lyquor.counters(self._id)
        return WorkerCounters(*all[: len(WorkerCounters._fields)])

    def resume(self) -> None:
        """Deliver again after quiesce()."""
        _lyquor.resume(self._id)

    def close(self, linger: float | None = LINGER) -> None:
        """Close all that it drives, and then its workers. What was sent is still delivered for linger seconds.

        Never waits, and may be called again: the shortest time counts.
        """
        self._closed = True
        _lyquor.close(self._id, milliseconds("linger", linger, never=-1))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}{' closed' if self._closed else ''}>"

    def __del__(self) -> None:
        if not self._closed and not _lyquor_forked() and not _gone(self._id):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close(0)


def _resume(seconds: float | None) -> int:
    """Seconds as lyq_endpoint_opt.resume_ms has them."""
    if seconds == 0:
        return _lyquor.WITH_LINK
    return milliseconds("resume", seconds, never=_lyquor.FOR_EVER)


_live: weakref.WeakSet[BaseDriver[Any, Any, Any]] = weakref.WeakSet()
_pid = os.getpid()


def _gone(id: int) -> bool:
    return _lyquor.wait(id, _lyquor.CLOSED, 0)


def _lyquor_forked() -> bool:
    return os.getpid() != _pid


@atexit.register
def _at_exit() -> None:
    """Ends what lives, before the interpreter does. Nothing that was sent is waited for: close() or `with` does."""
    if _lyquor_forked():
        return
    drivers = list(_live)
    for driver in drivers:
        if not driver._closed:
            warnings.warn(f"unclosed {driver!r}: what it had not delivered is lost", ResourceWarning, source=driver)
        driver.close(0)
    for driver in drivers:
        _lyquor.wait(driver._id, _lyquor.CLOSED, 2)
    _logging.stop()
    _lyquor.settle()
