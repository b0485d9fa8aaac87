"""A plugin for pytest: each test as a line of TAP, as tests/run.sh counts them (-p tap)."""

from __future__ import annotations

import pytest


class Reporter:
    """Replaces pytest's own report."""

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            print(f"ok - python: {report.nodeid}", flush=True)
        elif not report.passed:
            print(f"not ok - python: {report.nodeid} ({report.when} {report.outcome})")
            print("\n".join("# " + line for line in report.longreprtext.splitlines()), flush=True)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(f"not ok - python: {report.nodeid} cannot be collected")
            print("\n".join("# " + line for line in report.longreprtext.splitlines()), flush=True)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.unregister(terminal)
    config.pluginmanager.register(Reporter(), "tap-reporter")
