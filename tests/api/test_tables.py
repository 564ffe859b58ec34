"""Each path is one service's, or everybody's; a service says of the other's paths whose they are."""

from typing import Any

import falcon
import falcon.testing
import pytest

from picloud.api.apps import EVERYWHERE, MANAGER, ORCHESTRATOR, every_path
from picloud.api.middleware import Elsewhere
from picloud.api.tables import Role, Table
from picloud.errors import NotFound

TABLES: dict[str, Table[Any]] = {"everywhere": EVERYWHERE, "manager": MANAGER, "orchestrator": ORCHESTRATOR}
OF_THE_MANAGER = Elsewhere(Role.ORCHESTRATOR, Role.MANAGER, MANAGER)
OF_THE_ORCHESTRATOR = Elsewhere(Role.MANAGER, Role.ORCHESTRATOR, ORCHESTRATOR)


def request(path: str, method: str = "GET") -> falcon.Request:
    return falcon.Request(falcon.testing.create_environ(path, method=method))


def passes(elsewhere: Elsewhere, path: str) -> bool:
    """Whether a path is not taken for the other service's."""
    try:
        elsewhere.process_request(request(path), falcon.Response())
    except NotFound:
        return False
    return True


def filled(template: str) -> str:
    """A path of that template."""
    return template.replace("{key:path}", "a/b").replace("{", "").replace("}", "")


def test_no_path_stands_in_two_tables_or_twice_in_one() -> None:
    paths = [row.path for table in TABLES.values() for row in table]
    assert sorted(set(paths)) == sorted(paths) == sorted(path for path, _ in every_path(None))


@pytest.mark.parametrize("name", TABLES)
def test_a_path_is_elsewhere_for_one_service_at_most(name: str) -> None:
    for row in TABLES[name]:
        found = (passes(OF_THE_MANAGER, filled(row.path)), passes(OF_THE_ORCHESTRATOR, filled(row.path)))
        assert found == (name != "manager", name != "orchestrator"), row.path


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/scripts/s/nothing", "/fn/hello", "/hi", "/api"])
def test_what_is_in_no_table_is_nobodys(path: str) -> None:
    assert passes(OF_THE_MANAGER, path)
    assert passes(OF_THE_ORCHESTRATOR, path)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "BREW"])
def test_it_says_whose_a_path_is_by_any_method(method: str) -> None:
    with pytest.raises(
        NotFound, match=r"^/api/v1/logs is picloud-orchestrator's to answer, and this is picloud-manager$"
    ):
        OF_THE_ORCHESTRATOR.process_request(request("/api/v1/logs", method), falcon.Response())


@pytest.mark.parametrize("path", ["/fn/hello", "/hi", "/apiary"])
def test_what_may_be_a_scripts_is_the_orchestrators(path: str) -> None:
    with pytest.raises(NotFound, match=f"^{path} is picloud-orchestrator's to answer"):
        OF_THE_ORCHESTRATOR.sink(request(path), falcon.Response())


def test_what_is_no_path_of_the_api_is_not_there() -> None:
    with pytest.raises(NotFound, match=r"^There is nothing here"):
        OF_THE_ORCHESTRATOR.sink(request("/api/v1/nothing"), falcon.Response())
