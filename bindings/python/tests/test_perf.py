"""python -m lyquor.perf counts what arrives, with itself and with lyqperf."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from conftest import PATIENCE, ROOT, running

LYQPERF = ROOT / "build" / "lyqperf"
PYTHON = [sys.executable, "-P", "-W", "error", "-m", "lyquor.perf"]
PERFS = {"sync": PYTHON, "asyncio": [*PYTHON, "--loop", "asyncio"], "c": [str(LYQPERF)]}


def measure(listener: str, connector: str, mode: str, *arguments: str) -> dict[str, object]:
    """Runs both sides, and returns what the connector says."""
    extra = ["--from", "thread"] if mode == "lat" else []
    flags = {kind: extra if kind == "c" else [] for kind in PERFS}
    command = [*PERFS[listener], mode, "--json", "--listen", "tcp://127.0.0.1:0", *flags[listener]]
    with running(command, text=True) as a:
        assert a.stderr is not None
        where = a.stderr.readline().split()[-1]
        command = [*PERFS[connector], mode, "--json", "--connect", where, *flags[connector], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        _, err = a.communicate(timeout=PATIENCE)
    assert (result.returncode, result.stderr, a.returncode, err) == (0, "", 0, "")
    row: dict[str, object] = json.loads(result.stdout)
    return row


@pytest.mark.parametrize("connector", PERFS)
@pytest.mark.parametrize("listener", PERFS)
def test_throughput(listener: str, connector: str) -> None:
    row = measure(listener, connector, "thr", "--size", "100", "--count", "20000")
    assert (row["messages"], row["bytes"], row["endpoints"]) == (20000, 2000000, 1)


@pytest.mark.parametrize("listener", ["sync", "asyncio"])
def test_throughput_in_place(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PERFS, "view", [*PERFS[listener], "--view"])
    assert measure("view", "c", "thr", "--size", "20000", "--count", "2000")["bytes"] == 40_000_000


def test_many_endpoints() -> None:
    assert measure("sync", "sync", "thr", "--endpoints", "3", "--count", "3000")["messages"] == 3000


@pytest.mark.parametrize("connector", PERFS)
@pytest.mark.parametrize("listener", PERFS)
def test_latency(listener: str, connector: str) -> None:
    row = measure(listener, connector, "lat", "--count", "300")
    assert row["mode"] == "lat" and 0 < float(str(row["p50_us"])) <= float(str(row["p99_us"]))


def test_usage() -> None:
    for arguments in (["thr"], ["thr", "--listen", "a", "--connect", "b"], ["lat", "--listen", "a", "--size", "0"]):
        result = subprocess.run([*PYTHON, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        assert result.returncode == 1 and "usage" in result.stderr
