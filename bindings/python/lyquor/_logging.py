"""The library's log lines, in logging.getLogger("lyquor")."""

from __future__ import annotations

import logging
import threading

from . import _lyquor

logger = logging.getLogger("lyquor")
logger.addHandler(logging.NullHandler())
LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)

_thread: threading.Thread | None = None


def start() -> None:
    """Has lines of the logger's present level come; called with each new Driver."""
    global _thread
    level = max((i for i, name in enumerate(LEVELS) if logger.isEnabledFor(name)), default=-1)
    if level < 0:
        return
    _lyquor.log_start(level)
    if _thread is None:
        _thread = threading.Thread(target=_run, name="lyquor-log", daemon=True)
        _thread.start()


def stop() -> None:
    """Ends it, with the lines that came before; nothing runs in Python afterwards."""
    if _thread is not None:
        _lyquor.log_stop()
        _thread.join()


def _run() -> None:
    while (taken := _lyquor.log_take()) is not None:
        lines, dropped = taken
        for level, id, text in lines:
            logger.log(LEVELS[min(max(level, 0), 3)], "%s: %s", id, text, extra={"id": id})
        if dropped:
            logger.warning("log.dropped: %d lines came faster than they were taken", dropped)
