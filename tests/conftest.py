"""With MONLAT_NO_SKIPS=1, which scripts/test sets, a test that is skipped or expected to fail fails the run."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

NO_SKIPS = os.environ.get("MONLAT_NO_SKIPS") == "1"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skip((yield))


def _without_skip(report: Report) -> Report:
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and MONLAT_NO_SKIPS=1 allows none: {_take_reason(report)}"
    return report


def _take_reason(report: Any) -> str:  # the type of longrepr depends on how the test was skipped
    if hasattr(report, "wasxfail"):
        reason = f"expected to fail: {report.wasxfail}"
        del report.wasxfail  # with it, pytest would print the failure and still exit with 0
        return reason
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
