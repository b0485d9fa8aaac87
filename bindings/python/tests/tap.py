"""A plugin for pytest: each test as a line of TAP, as tests/run.sh counts them (-p tap)."""

from __future__ import annotations

import pytest


def explain(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Prints what was wrong: in short first, for logs that are cut."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message + "\n\n" if crash else "") + report.longreprtext
    print("\n".join("# " + line for line in lines.splitlines()), flush=True)


class Reporter:
    """Replaces pytest's own report."""

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            print(f"ok - python: {report.nodeid}", flush=True)
        elif not report.passed:
            print(f"not ok - python: {report.nodeid} ({report.when} {report.outcome})")
            explain(report)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(f"not ok - python: {report.nodeid} cannot be collected")
            explain(report)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.unregister(terminal)
    config.pluginmanager.register(Reporter(), "tap-reporter")
