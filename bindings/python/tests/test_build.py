"""Building and installing: what is missing is said in a sentence, and a wheel needs nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from conftest import run

HERE = Path(__file__).parents[1]


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which no tool is found."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def test_what_is_missing_is_named(bare: dict[str, str], tmp_path: Path) -> None:
    where = ["--build-lib", str(tmp_path), "--build-temp", str(tmp_path)]
    command = [sys.executable, "setup.py", "-q", "build_ext", *where]
    result = subprocess.run(command, cwd=HERE, env=bare, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.search(r"^lyquor: please install Go, at least version 1\.\d+.*, a C compiler", result.stderr, re.M)
    assert "Traceback" not in result.stderr


def test_a_wheel_needs_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    wheels = sorted((HERE.parents[1] / "build" / "wheel").glob("*.whl"), key=os.path.getmtime)
    assert wheels, "make wheel builds one"
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env" / "bin" / "python")
    assert shutil.which("go", path=bare["PATH"]) is None and shutil.which("cc", path=bare["PATH"]) is None
    install = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-index", str(wheels[-1])]
    assert subprocess.run(install, env=bare, capture_output=True, text=True).stderr == ""
    example = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.S)[0]
    result = subprocess.run([python, "-W", "error", "-c", example], env=bare, cwd="/", capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("hello, world\n", "")
    assert 5 <= len([line for line in example.splitlines() if line.strip()]) <= 15


def test_nothing_is_imported_that_does_not_run() -> None:
    assert run("import sys, lyquor.aio; print('trio' in sys.modules, 'anyio' in sys.modules)") == "False False\n"
