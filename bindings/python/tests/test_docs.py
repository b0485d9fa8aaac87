"""The tutorial does what it says."""

from __future__ import annotations

import doctest
import logging
import os
from pathlib import Path


def test_tutorial() -> None:
    root = Path(os.environ.get("LYQUOR_SOURCE") or Path(__file__).parents[3])
    logging.getLogger("lyquor").setLevel(logging.CRITICAL)
    names: dict[str, object] = {}
    failed, tried = doctest.testfile(str(root / "docs" / "python.md"), module_relative=False, globs=names)
    assert tried > 25 and failed == 0
