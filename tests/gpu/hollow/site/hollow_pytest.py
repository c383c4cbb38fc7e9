"""A plug-in of pytest: on a hollow GPU a failed assertion about numbers is no failure.

    python -m pytest -m gpu -p hollow_pytest

Any other exception is one: the host code did not reach the assertion.
"""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and call.excinfo and call.excinfo.errisinstance(AssertionError):
        report.outcome = "skipped"
        report.wasxfail = f"numbers: {str(call.excinfo.value).splitlines()[0]}"
    return report
