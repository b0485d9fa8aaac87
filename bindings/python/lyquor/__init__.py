"""lyquor: one channel of messages per peer, which outlives every connection.

A Driver is a pool of worker threads. Driver.dial opens an Endpoint, Driver.listen a Listener, which accepts endpoints.
Both sides send; looping over an endpoint hands out what came:

    with lyquor.Driver() as driver, driver.dial("tcp://127.0.0.1:7000") as ep:
        ep.send(b"hello")
        for msg in ep:
            print(bytes(msg))

lyquor.aio has the same for coroutines. lyquor.h, the manual of the library below, says what is promised.
"""

from __future__ import annotations

import os as _os
import platform as _platform

try:
    from . import _lyquor
except ImportError as error:
    if _platform.libc_ver()[0] != "glibc":
        raise ImportError(
            "lyquor needs glibc: its library is written in Go, whose shared libraries do not work with musl"
        ) from error
    if "lyq_" in str(error).lower():  # a symbol, or their version
        raise ImportError(
            "the liblyquor.so.0 that is loaded is older than the one that lyquor was built with: another copy is "
            f"loaded before the package's own ({error})"
        ) from error
    raise

if _lyquor.abi_version() < _lyquor.ABI_VERSION:
    raise ImportError(
        f"lyquor was built for version {_lyquor.ABI_VERSION} of liblyquor's ABI, and the liblyquor.so.0 that is loaded "
        f"has version {_lyquor.abi_version()}: another copy is loaded before the package's own"
    )

from ._base import (
    EndpointCounters,
    ProcessCounters,
    Timer,
    WorkerCounters,
    process_counters,
)
from ._errors import (
    AddressError,
    ArgumentError,
    BusyError,
    ClosedError,
    DeadlockError,
    ForkedError,
    HandleError,
    InternalError,
    LimitError,
    LyquorError,
    MessageTooLong,
    NotSupported,
    OutOfMemory,
    PeerRestarted,
    ProtocolError,
    Refused,
    Reset,
    TimedOut,
    Unreachable,
    VersionError,
    WouldBlock,
    error_of as _error_of,
)
from ._events import (
    Accepted,
    Closed,
    Down,
    Ended,
    Event,
    Lane,
    LaneAccount,
    OnRestart,
    Restarted,
    TimerDue,
    Unacked,
    Up,
    Writable,
)
from ._lyquor import Message
from ._sync import Driver, Endpoint, Inbox, Listener

__version__ = _lyquor.version()

__all__ = [
    "Accepted", "AddressError", "ArgumentError", "BusyError", "Closed", "ClosedError", "DeadlockError", "Down",
    "Driver", "Ended", "Endpoint", "EndpointCounters", "Event", "ForkedError", "HandleError", "Inbox",
    "InternalError", "Lane", "LaneAccount", "LimitError", "Listener", "LyquorError", "Message",
    "MessageTooLong", "NotSupported", "OnRestart", "OutOfMemory", "PeerRestarted", "ProcessCounters",
    "ProtocolError", "Refused", "Reset", "Restarted", "TimedOut", "Timer", "TimerDue", "Unacked", "Unreachable",
    "Up", "VersionError", "WorkerCounters", "Writable", "WouldBlock", "has", "process_counters",
]  # fmt: skip


def has(what: str) -> bool:
    """Whether this build has a capability: "tcp", "mem", "fd", "pull" or "portable"."""
    return _lyquor.has(what)


for _class in (Driver, Endpoint, Inbox, Listener, Timer):
    _class.__module__ = __name__
_lyquor.set_up(_error_of, tuple(Lane(i) for i in range(4)))
_os.register_at_fork(after_in_child=_lyquor.in_child)
