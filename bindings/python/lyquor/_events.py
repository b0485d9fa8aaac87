"""Lanes, accounts, and the events that items() hands out beside messages."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from . import _lyquor
from ._errors import LyquorError, PeerRestarted, error_of


class Lane(enum.IntEnum):
    """The ordered streams of an endpoint, sent in strict priority: URGENT, NORMAL, LOW, BULK."""

    NORMAL = _lyquor.NORMAL
    URGENT = _lyquor.URGENT
    LOW = _lyquor.LOW
    BULK = _lyquor.BULK


class OnRestart(enum.IntEnum):
    """What becomes of messages that a peer which has restarted had not acknowledged."""

    REPORT = _lyquor.REPORT
    """They are withdrawn, and listed: PeerRestarted.unacked."""
    RESEND = _lyquor.RESEND
    """They are sent to the new peer, before what follows."""
    DROP = _lyquor.DROP
    """They are withdrawn, and not listed."""


class LaneAccount(NamedTuple):
    """Counts of one lane's messages since the last restart: accepted is the sum of the next three and of withdrawn."""

    accepted: int
    acknowledged: int
    maybe_delivered: int
    never_sent: int
    received: int
    withdrawn: int


class Unacked(NamedTuple):
    """A message that was sent and not acknowledged."""

    lane: Lane
    channel: int
    id: int
    maybe_delivered: bool
    """The peer may have it, or not; else no connection was given a byte of it."""
    data: bytes


@dataclass(frozen=True)
class Event:
    """What happened to an endpoint; the base of all events."""

    endpoint: Any
    """The Endpoint; None for a timer of an inbox."""


@dataclass(frozen=True)
class Up(Event):
    """There is a connection, the first or another."""

    local: str = ""
    remote: str = ""
    agent: str = ""
    """The peer's library, such as "lyquor/0.1.0"."""
    max_message: int = 0
    """The longest message that the peer takes, in bytes."""


@dataclass(frozen=True)
class Down(Event):
    """The connection is lost, or the first attempt to get one failed. Another Up follows, or Closed."""

    error: LyquorError | None = None
    """Why; None: another takes its place (switch)."""


@dataclass(frozen=True)
class Ended(Event):
    """The peer sends no more; it may still receive."""


@dataclass(frozen=True)
class Writable(Event):
    """There is room again in a lane, after WouldBlock."""

    lane: Lane = Lane.NORMAL


@dataclass(frozen=True)
class Restarted(Event):
    """The peer came back without what it had."""

    accounts: tuple[LaneAccount, ...] = ()
    """By lane; empty if there was no memory for them."""
    unacked: tuple[Unacked, ...] = field(default=(), repr=False)

    @property
    def error(self) -> PeerRestarted:
        """What a loop over messages raises for it."""
        error = PeerRestarted(_lyquor.ERESET, "the peer restarted, and what it had not acknowledged is reported")
        error.endpoint, error.accounts, error.unacked = self.endpoint, self.accounts, self.unacked
        return error


@dataclass(frozen=True)
class Accepted(Event):
    """An inbox that was given to listen has a new endpoint."""

    listener: Any = None
    remote: str = ""


@dataclass(frozen=True)
class TimerDue(Event):
    """A timer is due."""

    timer: Any = None


@dataclass(frozen=True)
class Closed(Event):
    """The last event of an endpoint."""

    errno: int = 0
    """0 for an orderly end by either side, else the number of the error."""
    detail: str = ""
    accounts: tuple[LaneAccount, ...] = ()
    unacked: tuple[Unacked, ...] = field(default=(), repr=False)

    @property
    def error(self) -> LyquorError | None:
        """What a loop over messages raises for it; None after an orderly end."""
        if not self.errno:
            return None
        error = error_of(self.errno, self.detail)
        error.endpoint = self.endpoint
        return error


def make_event(
    kind: int, code: int, lane: int, token: int, endpoint: Any, detail: bytes, account: Any, unacked: Any
) -> Event | None:
    """The event of an item; None for a kind that this release does not know. ACCEPTED and TIMER are the inbox's."""
    if kind == _lyquor.UP:
        d = _Table(detail)
        return Up(endpoint, d.text(0), d.text(1), d.text(2), d.number(3))
    if kind == _lyquor.DOWN:
        return Down(endpoint, error_of(code) if code else None)
    if kind == _lyquor.ENDED:
        return Ended(endpoint)
    if kind == _lyquor.WRITABLE:
        return Writable(endpoint, Lane(lane))
    if kind not in (_lyquor.RESTARTED, _lyquor.CLOSED):
        return None
    accounts = tuple(LaneAccount(*one) for one in account or ())
    listed = tuple(Unacked(Lane(one[0]), *one[1:]) for one in unacked)
    if kind == _lyquor.RESTARTED:
        return Restarted(endpoint, accounts, listed)
    return Closed(endpoint, code, why_of(detail), accounts, listed)


def why_of(detail: bytes) -> str:
    """What the detail of CLOSED says."""
    return _Table(detail).text(1)


def remote_of(detail: bytes) -> str:
    """The peer's address from the detail of ACCEPTED."""
    return _Table(detail).text(1)


class _Table:
    """A FlatBuffers table of the library's own making, of schema/event.fbs; empty for none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data:
            self.at = struct.unpack_from("<I", data, 0)[0]
            self.vtable = self.at - struct.unpack_from("<i", data, self.at)[0]
            self.size = struct.unpack_from("<H", data, self.vtable)[0]

    def _field(self, number: int) -> int:
        where = 4 + 2 * number
        if not self.data or where >= self.size:
            return 0
        offset: int = struct.unpack_from("<H", self.data, self.vtable + where)[0]
        return self.at + offset if offset else 0

    def text(self, number: int) -> str:
        at = self._field(number)
        if not at:
            return ""
        at += struct.unpack_from("<I", self.data, at)[0]
        size = struct.unpack_from("<I", self.data, at)[0]
        return self.data[at + 4 : at + 4 + size].decode("utf-8", "replace")

    def number(self, number: int) -> int:
        at = self._field(number)
        value: int = struct.unpack_from("<Q", self.data, at)[0] if at else 0
        return value
