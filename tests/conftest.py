"""What all tests share: PostgreSQL, who runs which test, and that nothing is skipped on CI."""

import os

import pytest

pytest_plugins = ["tests.fixtures_postgres"]


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
