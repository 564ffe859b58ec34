"""Each step of an installation sees what is there, makes what is not, and leaves what is the operator's."""

import hashlib
from pathlib import Path

import pytest

from picloud.errors import ConfigurationError, PlatformError
from picloud.installation import caddy, configuration, plan, postgres
from picloud.installation.machine import Machine
from picloud.installation.places import CADDYFILE, COMMAND, KEY, SETTINGS
from picloud.installation.steps import Change, News, Note, Order
from picloud.installation.units import placed, unit_files
from picloud.settings import load
from tests.installation.conftest import Played
from tests.running import ROOT

ONLINE = {"pg_lsclusters": "15 main 5432 online postgres /var/lib /var/log"}
CADDY = {"getent": "picloud-http:x:999:", "systemctl show": "0", "systemctl is-enabled": "", "dpkg-query": ""}


def made(news: News) -> list[str]:
    """Make every change → what was said."""
    said = []
    for it in news:
        said.append(it.what if isinstance(it, Change) else it.text)
        if isinstance(it, Change):
            it.make()
    return said


def test_the_settings_are_made_from_the_example_and_are_what_the_services_need(root: Path, order: Order) -> None:
    machine = Played(root, answers=ONLINE)
    assert made(configuration.settings_file(machine, order)) == [f"write {SETTINGS}"]
    found = load({"PICLOUD_CONFIG": str(machine.path(SETTINGS))})
    assert str(found.data) == "/var/lib/picloud"
    assert found.bind == "unix:/run/picloud/http.sock"
    assert str(found.executor_socket) == "/run/picloud-executor/executor.sock"
    assert found.database_url == "postgresql://picloud@/picloud?host=/run/postgresql"
    assert found.drain_ms == 15_000
    assert made(configuration.settings_file(machine, order)) == []


def test_settings_that_are_there_stay_and_new_ones_are_named(root: Path, order: Order) -> None:
    machine = Played(root, answers=ONLINE)
    example = (ROOT / "config/picloud.toml").read_text().replace("# queue_ms = 1000\n", "")
    machine.write(SETTINGS, example)
    (said,) = made(configuration.settings_file(machine, order))
    assert said.endswith("settings that it does not know yet: queue_ms")
    assert machine.text(SETTINGS) == example


def test_settings_that_are_wrong_stop_an_installation(root: Path, order: Order) -> None:
    machine = Played(root, answers=ONLINE)
    machine.write(SETTINGS, "[server]\nworker = 3\n")
    with pytest.raises(ConfigurationError, match="did you mean"):
        made(configuration.settings_file(machine, order))


def test_a_key_is_made_once(root: Path, order: Order) -> None:
    machine = Played(root)
    machine.path("/etc/picloud").mkdir()
    assert len(made(configuration.secret_key(machine, order))) == 1
    key = machine.text(KEY)
    assert made(configuration.secret_key(machine, order)) == []
    assert machine.text(KEY) == key


def test_a_key_that_others_may_read_is_made_private(root: Path, order: Order) -> None:
    machine = Played(root)
    machine.path("/etc/picloud").mkdir()
    made(configuration.secret_key(machine, order))
    machine.path(KEY).chmod(0o644)
    assert len(made(configuration.secret_key(machine, order))) == 1
    assert machine.path(KEY).stat().st_mode & 0o777 == 0o600
    assert made(configuration.secret_key(machine, order)) == []


def test_the_command_is_a_shell_script_that_is_replaced(root: Path, order: Order) -> None:
    machine = Machine(root)
    machine.write(COMMAND, "old", 0o755)
    assert made(configuration.command(machine, order)) == [f"replace {COMMAND}"]
    assert made(configuration.command(machine, order)) == []
    Machine().ask("sh", "-n", str(machine.path(COMMAND)))


@pytest.mark.parametrize(
    ("clusters", "url"),
    [
        ("", "postgresql://picloud@/picloud?host=/run/postgresql"),
        ("15 main 5433 online", "postgresql://picloud@/picloud?host=/run/postgresql&port=5433"),
        ("14 old 5433 online\n15 main 5432 down", "postgresql://picloud@/picloud?host=/run/postgresql"),
    ],
)
def test_the_cluster_is_the_one_on_the_usual_port_or_the_only_one(root: Path, clusters: str, url: str) -> None:
    assert postgres.url(Played(root, answers={"pg_lsclusters": clusters})) == url


def test_of_several_clusters_the_operator_chooses(root: Path) -> None:
    machine = Played(root, answers={"pg_lsclusters": "14 a 5433 online\n15 b 5434 online"})
    with pytest.raises(Exception, match=r"14/a on port 5433, 15/b on port 5434"):
        postgres.cluster(machine)
    machine.write(SETTINGS, '[server]\ndatabase_url = "postgresql://picloud@/picloud?host=/run/postgresql&port=5434"\n')
    assert postgres.cluster(machine).name == "b"


def test_a_database_of_the_operators_is_left_alone(root: Path, order: Order) -> None:
    machine = Played(root)
    machine.write(SETTINGS, '[server]\ndatabase_url = "postgresql://me@db.example.org/mine"\n')
    (said,) = made(postgres.database(machine, order))
    assert "left to you" in said
    assert made(postgres.tuning(machine, order)) == []
    postgres.drop(machine)
    assert machine.done == []


@pytest.mark.parametrize(("answer", "there", "is_tuned"), [
    (None, False, False), (False, False, False), (True, False, True), (None, True, True), (False, True, False),
])  # fmt: skip
def test_postgresql_is_tuned_if_somebody_says_so(
    root: Path, order: Order, answer: bool | None, there: bool, is_tuned: bool
) -> None:
    machine = Played(root, answers=ONLINE)
    file = "/etc/postgresql/15/main/conf.d/picloud.conf"
    text = order.text("config/postgresql.conf")
    if there:
        machine.write(file, text)
    asked = Order(None, order.shipped, "", answer, lambda: pytest.fail("it was asked") if there else False, order.show)
    made(postgres.tuning(machine, asked))
    assert machine.has(file) is is_tuned
    assert machine.done == (["systemctl restart postgresql@15-main.service"] if is_tuned != there else [])


def test_who_installs_is_asked_about_postgresql_and_who_upgrades_is_not(root: Path, order: Order) -> None:
    machine = Played(root, answers=ONLINE)
    willing = Order(None, order.shipped, "", None, lambda: True, order.show)
    release = machine.path("/opt/picloud/releases/1")
    release.mkdir(parents=True)
    (release / "release.json").write_text("{}")
    machine.link("/opt/picloud/current", "releases/1")
    assert [it.partition(":")[0] for it in made(postgres.tuning(machine, willing))] == [
        "PostgreSQL is as Debian has it"
    ]
    machine.remove("/opt/picloud/current")
    assert "restart PostgreSQL" in made(postgres.tuning(machine, willing))


def test_debians_caddyfile_is_replaced_and_comes_back(root: Path, order: Order) -> None:
    debians = ":80 {\n}\n"
    digest = hashlib.md5(debians.encode()).hexdigest()
    machine = with_caddy(root, debians, CADDY | {"dpkg-query": f" {CADDYFILE} {digest}"})
    made(caddy.site(machine, named(order)))
    assert machine.text(CADDYFILE) == order.text("config/Caddyfile")
    caddy.restore(machine)
    assert machine.text(CADDYFILE) == debians


def test_a_caddyfile_of_the_operators_stays_and_the_line_to_add_is_told(root: Path, order: Order) -> None:
    machine = with_caddy(root, "example.org {\n}\n", CADDY)
    said = made(caddy.site(machine, named(order)))
    assert machine.text(CADDYFILE) == "example.org {\n}\n"
    assert any("above all others" in it and "import picloud.caddy" in it for it in said)
    machine.write(CADDYFILE, "import picloud.caddy\n")
    assert not [it for it in made(caddy.site(machine, named(order))) if "above all" in it]
    caddy.restore(machine)
    assert machine.text(CADDYFILE) == "import picloud.caddy\n"


def test_a_caddyfile_of_the_operators_that_comes_later_stays_too(root: Path, order: Order) -> None:
    digest = hashlib.md5(b":80 {\n}\n").hexdigest()
    machine = with_caddy(root, ":80 {\n}\n", CADDY | {"dpkg-query": f" {CADDYFILE} {digest}"})
    made(caddy.site(machine, named(order)))
    assert machine.text(CADDYFILE) == order.text("config/Caddyfile")
    machine.write(CADDYFILE, "example.org {\n}\n")
    assert any("above all others" in it for it in made(caddy.site(machine, named(order))))
    assert machine.text(CADDYFILE) == "example.org {\n}\n"


def test_a_sites_name_stays_until_another_is_given(root: Path, order: Order) -> None:
    machine = with_caddy(root, "", CADDY)
    drop_in = "/etc/systemd/system/caddy.service.d/picloud.conf"
    for given, kept in (("a.example.org", "a.example.org"), ("", "a.example.org"), ("b.example.org", "b.example.org")):
        made(caddy.site(machine, named(order, given)))
        assert f"\nEnvironment=PICLOUD_SITE={kept}\n" in (machine.text(drop_in) or "")
    with pytest.raises(ConfigurationError, match="must be a host name"):
        made(caddy.site(machine, named(order, "a b\nUser=root")))


def test_units_are_those_that_are_shipped(root: Path, tmp_path: Path) -> None:
    machine = Played(root)
    place = machine.path("/usr/local/lib/systemd/system")
    place.mkdir(parents=True)
    (place / "picloud-gone.service").write_text("")
    (place / "other.service").write_text("")
    assert len(made(iter(placed(machine, ROOT)))) == 1
    shipped = {path.name: path.read_text() for path in unit_files(ROOT / "systemd")}
    assert {path.name: path.read_text() for path in unit_files(place)} == shipped
    assert (place / "other.service").exists()
    assert machine.done == ["systemctl daemon-reload"]
    assert made(iter(placed(machine, ROOT))) == []


def test_a_check_says_what_each_step_would_do(root: Path, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_machine: Machine, _order: Order) -> News:
        yield Note("this is so")
        yield Change("do that", lambda: pytest.fail("it was done"))

    said: list[str] = []
    (root / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(plan, "STEPS", (("one", step), ("two", lambda *_: iter(()))))
    plan.check(Machine(root, read_only=True), order, said.append)
    assert said == ["one: this is so", "one: would do that", "two: as it should be"]


def test_what_is_missing_yet_does_not_end_a_check(root: Path, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    (root / "run/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(plan, "STEPS", (("one", lambda machine, _: iter([machine.ask("picloud-nothing")])),))
    plan.check(Machine(root, read_only=True), order, said.append)
    assert said == ["one: there is no 'picloud-nothing' on this machine: 'make install' brings what is missing"]


def test_a_machine_without_systemd_is_told_so(root: Path, order: Order) -> None:
    with pytest.raises(PlatformError, match="systemd does not run this machine"):
        plan.check(Machine(root, read_only=True), order, print)


def with_caddy(root: Path, text: str, answers: dict[str, str]) -> Played:
    """A machine with a Caddyfile."""
    machine = Played(root, answers=answers)
    machine.write("/usr/bin/caddy", "", 0o755)
    machine.write(CADDYFILE, text)
    return machine


def named(order: Order, site: str = "cloud.example.org") -> Order:
    return Order(None, order.shipped, site, order.tune, order.ask_to_tune, order.show)


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        ("cloud.example.org", True),
        ("https://cloud.example.org:8443", True),
        ("raspberrypi", False),
        ("raspberrypi.local", False),
        ("cloud.localhost", False),
        ("cloud.fritz.lan", False),
        ("192.168.1.5", False),
        ("http://pi.home.arpa", False),
    ],
)
def test_a_certificate_is_asked_for_where_it_can_be_had(site: str, expected: bool) -> None:
    assert caddy.is_public(site) is expected
