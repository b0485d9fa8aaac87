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

from conftest import ROOT, run

HERE = ROOT / "bindings" / "python"


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


def runs_the_example(python: Path, env: dict[str, str]) -> None:
    """The README's example says what it should, and is as short as it claims to be."""
    example = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.S)[0]
    assert 5 <= len([line for line in example.splitlines() if line.strip()]) <= 15
    result = subprocess.run([python, "-W", "error", "-c", example], env=env, cwd="/", capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("hello, world\n", "")


def test_a_wheel_needs_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    (wheel,) = (ROOT / "build" / "wheel").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    assert shutil.which("go", path=bare["PATH"]) is None and shutil.which("cc", path=bare["PATH"]) is None
    install = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-index", wheel]
    assert subprocess.run(install, env=bare, capture_output=True, text=True).stderr == ""
    runs_the_example(python, bare)


def test_pip_install_from_a_clean_tree(tmp_path: Path) -> None:
    """As a user types it; but what pip would fetch to build with is there already."""
    tree = tmp_path / "lyquor"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__"))
    venv.create(tmp_path / "env", with_pip=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(ROOT / "build" / "python" / "wheels")}
    install = [tmp_path / "env" / "bin" / "pip", "-q", "--disable-pip-version-check", "install", "bindings/python"]
    result = subprocess.run(install, cwd=tree, env=env, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    runs_the_example(tmp_path / "env" / "bin" / "python", env)


def test_nothing_is_imported_that_does_not_run() -> None:
    assert run("import sys, lyquor.aio; print('trio' in sys.modules, 'anyio' in sys.modules)") == "False False\n"
