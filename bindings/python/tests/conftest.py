"""What the tests have in common: drivers that are closed, pairs of endpoints, programs in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lyquor
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(tempfile.gettempdir())
PATIENCE = 30.0
ROOT = Path(__file__).parents[3]


def eventually(condition: Callable[[], Any]) -> Any:
    """Polls for what nobody tells of."""
    import time

    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)
    return value


@pytest.fixture
def driver() -> Iterator[lyquor.Driver]:
    with lyquor.Driver() as driver:
        yield driver
        driver.close(0)


class Pair:
    """Two ends of one channel: a dialled b."""

    def __init__(self, driver: lyquor.Driver, address: str = "tcp://127.0.0.1:0", **options: Any) -> None:
        self.driver = driver
        self.listener = driver.listen(address, **options)
        self.a = driver.dial(self.listener.address, **options)
        self.b = self.listener.accept(PATIENCE)
        self.a.wait_up(PATIENCE)

    def close(self) -> None:
        self.listener.close()
        self.a.close(0)
        self.b.close(0)


@pytest.fixture
def make_pair(driver: lyquor.Driver) -> Iterator[Callable[..., Pair]]:
    pairs: list[Pair] = []

    def make(*args: Any, **options: Any) -> Pair:
        pairs.append(Pair(driver, *args, **options))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()


@contextmanager
def running(command: list[str], *, text: bool) -> Iterator[subprocess.Popen[Any]]:
    """Starts a process. It is killed if it is not over at the end, as when the test has failed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=text) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def program(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a program of its own, with warnings as errors."""
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job's children may ignore it
    command = [sys.executable, "-P", "-W", "error", "-X", "faulthandler", "-c", heed + textwrap.dedent(source)]
    with running([*command, *arguments], text=True) as process:
        yield process


def run(source: str, *arguments: str) -> str:
    """Runs a program to its end, and returns what it prints; it may not say anything on standard error."""
    with program(source, *arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    return out
