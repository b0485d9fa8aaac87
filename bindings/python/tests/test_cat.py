"""python -m lyquor.cat, with itself and with lyqcat if that was built."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import AbstractContextManager

import pytest

from conftest import PATIENCE, ROOT, running

LYQCAT = ROOT / "build" / "lyqcat"
CATS = {"python": [sys.executable, "-P", "-W", "error", "-m", "lyquor.cat"], "c": [str(LYQCAT)]}
PAIRS = [("python", "python"), ("python", "c"), ("c", "python")]


def start(kind: str, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running([*CATS[kind], *arguments], text=False)


def listening(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.readline().split()[-1].decode()


@pytest.mark.parametrize(("listener", "dialler"), PAIRS)
@pytest.mark.parametrize("mode", [[], ["-m", "line"], ["-m", "block:1000"]], ids=["block", "line", "small"])
def test_both_ways(listener: str, dialler: str, mode: list[str]) -> None:
    rng = random.Random(7)
    there = rng.randbytes(3_000_000) + b"\n"
    back = b"".join(b"line %d\n" % i for i in range(20_000))
    with start(listener, "-l", "tcp://127.0.0.1:0", *mode) as a:
        with start(dialler, listening(a), "--stats", *mode) as b:
            import threading

            got: dict[str, bytes] = {}
            feeder = threading.Thread(target=lambda: got.update(b=b"".join(b.communicate(there, PATIENCE)[:1])))
            feeder.start()
            got["a"], a_err = a.communicate(back, PATIENCE)
            feeder.join(PATIENCE)
    assert (a.returncode, b.returncode, a_err) == (0, 0, b"")
    assert got["a"] == there and got["b"] == back


@pytest.mark.parametrize(("listener", "dialler"), PAIRS)
def test_interrupted(listener: str, dialler: str) -> None:
    """SIGINT ends it at once; the peer sees a broken connection."""
    with start(listener, "-l", "-v", "tcp://127.0.0.1:0") as a, start(dialler, listening(a), "-v") as b:
        assert a.stderr is not None and b"connected" in a.stderr.readline()
        assert b.stderr is not None and b"connected" in b.stderr.readline()
        b.send_signal(signal.SIGINT)
        assert b.wait(PATIENCE) == 128 + signal.SIGINT
        _, err = a.communicate(timeout=PATIENCE)
        assert a.returncode == 2 and b"connection reset" in err


def test_usage() -> None:
    for arguments in ([], ["a", "b"], ["-m", "block:0", "x"], ["--what"]):
        with start("python", *arguments) as process:
            _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1 and b"usage" in err
    with start("python", "tcp://127.0.0.1:1") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and b"refused" in err
