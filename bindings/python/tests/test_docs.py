"""The tutorial does what it says."""

from __future__ import annotations

import doctest
import logging

from conftest import ROOT
from reference import reference


def test_tutorial() -> None:
    logging.getLogger("lyquor").setLevel(logging.CRITICAL)
    names: dict[str, object] = {}
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False, globs=names)
    assert tried > 25 and failed == 0


def test_reference_is_what_the_docstrings_say() -> None:
    assert (ROOT / "docs" / "python-api.md").read_text() == reference(), "run bindings/python/tests/reference.py again"
