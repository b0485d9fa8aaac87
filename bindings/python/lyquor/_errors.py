"""Exceptions by cause. Each has the library's code as errno, its name as code, and what was wrong as detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _lyquor

if TYPE_CHECKING:
    from ._events import LaneAccount, Unacked


class LyquorError(Exception):
    """The base of all errors of this package.

    errno is the number of an enum lyq_err (below 0), code its name ("ERESET"), detail what was wrong and what is
    allowed, if that is known; endpoint is the endpoint that it is about, if it came from a loop over an inbox.
    """

    errno: Any
    code: str
    detail: str
    endpoint: Any = None

    def __init__(self, errno: int, detail: str = "") -> None:
        text = _lyquor.strerror(errno)
        super().__init__(f"{text}: {detail}" if detail else text)
        self.errno = errno
        self.code = NAMES.get(errno, str(errno))
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.errno, self.detail)


class ArgumentError(LyquorError, ValueError):
    """An argument is out of range."""


class HandleError(LyquorError, ValueError):
    """Not a handle of the kind that is needed."""


class ClosedError(LyquorError, BrokenPipeError):
    """What was used is closed, or closing and takes no more."""


class WouldBlock(LyquorError, BlockingIOError):
    """There is no room now; a Writable event follows."""


class MessageTooLong(LyquorError, ValueError):
    """Longer than the peer takes (1 MiB before it is up), or than memory_limit."""


class TimedOut(LyquorError, TimeoutError):
    """The timeout is over."""


class DeadlockError(LyquorError, RuntimeError):
    """The call would wait where that is not possible."""


class ForkedError(LyquorError, RuntimeError):
    """The library does not work in a forked child: start children by "spawn"."""


class AddressError(LyquorError, OSError):
    """An address cannot be parsed, resolved, bound or reached in principle."""


class OutOfMemory(LyquorError, MemoryError):
    """No memory is left."""


class LimitError(LyquorError, OSError):
    """A limit is reached: handles, drivers, descriptors."""


class Refused(LyquorError, ConnectionRefusedError):
    """Nobody listens there."""


class Unreachable(LyquorError, OSError):
    """There is no route to it."""


class Reset(LyquorError, ConnectionResetError):
    """The connection broke, or the peer ended it without a word."""


class VersionError(LyquorError, ConnectionError):
    """No wire version or suite in common."""


class NotSupported(LyquorError, NotImplementedError):
    """Not in this build or release."""


class InternalError(LyquorError, RuntimeError):
    """A defect in lyquor; the log has more."""


class BusyError(LyquorError, OSError):
    """The address is in use, or the handle is bound already."""


class ProtocolError(LyquorError, ConnectionError):
    """The peer broke the protocol, or is no lyquor."""


class PeerRestarted(Reset):
    """The peer came back without what it had.

    accounts says what became of the messages of each lane, unacked lists those that were withdrawn without an
    acknowledgement (with OnRestart.REPORT). The endpoint goes on: loop over it again.
    """

    accounts: tuple[LaneAccount, ...] = ()
    unacked: tuple[Unacked, ...] = ()


CLASSES: dict[int, type[LyquorError]] = {
    _lyquor.EINVAL: ArgumentError,
    _lyquor.EHANDLE: HandleError,
    _lyquor.ECLOSED: ClosedError,
    _lyquor.EAGAIN: WouldBlock,
    _lyquor.EMSGSIZE: MessageTooLong,
    _lyquor.ETIMEDOUT: TimedOut,
    _lyquor.EINTR: LyquorError,
    _lyquor.EDEADLK: DeadlockError,
    _lyquor.EFORKED: ForkedError,
    _lyquor.EADDR: AddressError,
    _lyquor.ENOMEM: OutOfMemory,
    _lyquor.ELIMIT: LimitError,
    _lyquor.EREFUSED: Refused,
    _lyquor.EUNREACH: Unreachable,
    _lyquor.ERESET: Reset,
    _lyquor.EVERSION: VersionError,
    _lyquor.ENOTSUP: NotSupported,
    _lyquor.EINTERNAL: InternalError,
    _lyquor.EBUSY: BusyError,
    _lyquor.EPROTO: ProtocolError,
}

NAMES: dict[int, str] = {getattr(_lyquor, name): name for name in dir(_lyquor) if name[0] == "E" and name.isupper()}


def error_of(errno: int, detail: str = "") -> LyquorError:
    """The exception of an error of the library."""
    return CLASSES.get(errno, LyquorError)(errno, detail)
