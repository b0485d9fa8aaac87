"""The tutorial does what it says."""

from __future__ import annotations

import doctest
import logging

from conftest import ROOT


def test_tutorial() -> None:
    logging.getLogger("lyquor").setLevel(logging.CRITICAL)
    names: dict[str, object] = {}
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False, globs=names)
    assert tried > 25 and failed == 0
