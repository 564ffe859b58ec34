"""What all tests share: PostgreSQL, who runs which test, and that nothing is skipped on CI."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures_postgres"]


def pytest_configure() -> None:
    """Hear Ctrl-C, and let our children: a shell without job control has what it starts with `&` ignore it.

    No example of hypothesis's fails for being slow: this machine may be busy. On CI it makes the same ones each time.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the other kind of user; CI runs the tests as both."""
    others = "ordinary_user" if os.geteuid() == 0 else "root"
    left_out = [item for item in items if item.get_closest_marker(others)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(others)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip on CI is a failure: what was skipped was not shown to work."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    skipped = len(reporter.stats.get("skipped", []))
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{skipped} skipped: on CI that is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
