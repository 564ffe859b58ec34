"""A configuration, exported and applied: the identity, all or nothing, and once is enough."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from picloud.cli import config_folder, toml
from picloud.cli.bundle import read_source, script_name_of
from picloud.configuration import Plan
from picloud.errors import BodyTooLarge, Conflict, InvalidRequest, InvalidSource, PreconditionFailed
from picloud.manager import bundle, manifest
from picloud.manager.config_document import ConfigDocument, read_document
from picloud.manager.config_plan import Action, ConfigChange, Thing
from picloud.manager.configuration import Applied, Configuration
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.model import DEFAULT_POLICY, Limits, NewSchedule, Origin, SyntaxProblem, Upload
from picloud.patterns import RouteWanted
from picloud.storage import schedules
from picloud.storage.configuration import ConfigurationTable
from picloud.storage.jobs import through
from picloud.storage.pool import Pool
from picloud.storage.routes import RouteTable
from picloud.storage.schedule_table import ScheduleTable
from picloud.storage.schedules import Maker
from picloud.storage.scripts import ScriptTable
from picloud.storage.secrets import SecretTable
from picloud.storage.subscriptions import SubscriptionTable
from picloud.storage.uploads import lock
from picloud.subscriptions import SubscriptionWanted
from tests.running import ROOT

RULES = SettingsRules(DEFAULT_POLICY)
MAIN = b"return 1"
OWN = b"""# ours
[[route]]
method = "get"
path = "/own/{name}"

[[schedule]]
every = "10 minutes"
payload = { n = 1.0, when = 2026-01-01T00:00:00Z }

[settings.limits]
wall_ms = 1000
"""


class Checker:
    """Does not compile what says so."""

    def __init__(self) -> None:
        self.checked = 0

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        self.checked += 1
        return SyntaxProblem("main.lua", 3, "no Lua") if files["main.lua"] == b"broken" else None


class Platform:
    """What there is of a PiCloud behind its API."""

    def __init__(self, pool: Pool, rules: SettingsRules = RULES) -> None:
        self.pool = pool
        self.scripts, self.routes = ScriptTable(pool), RouteTable(pool)
        self.schedules, self.subscriptions = ScheduleTable(pool), SubscriptionTable(pool)
        self.checker, self.announced = Checker(), 0
        self.configuration = Configuration(ConfigurationTable(pool), self.checker, rules, self._announce)

    def _announce(self) -> None:
        self.announced += 1

    def deploy(self, name: str, **files: bytes) -> None:
        whole = {"main.lua": MAIN} | {path.replace("_", "."): text for path, text in files.items()}
        declared = manifest.read(whole, RULES, script=name)
        self.scripts.put(name, Upload(whole, bundle.digest(whole), "test"), declared=declared)

    def set(self, name: str, **settings: Any) -> None:
        self.scripts.change_settings(name, RULES.change(msgspec.convert(settings, SettingsPatch)))

    def export(self) -> dict[str, Any]:
        """As it goes over the wire."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.configuration.export()[0]))
        return found

    def apply(self, document: Mapping[str, Any], **how: Any) -> Applied:
        return self.configuration.apply(read_document(msgspec.json.encode(document)), "test", **how)

    def versions(self, name: str) -> list[int]:
        return [it.version for it in self.scripts.versions(name, 100, 1000)]


@pytest.fixture
def platform(database: str) -> Iterator[Platform]:
    with closing(Pool(database, size=4, wait_ms=5_000)) as pool:
        yield Platform(pool)


def furnished(platform: Platform) -> None:
    """One script of each kind: that says nothing itself, that says all, and that says what is not so any more."""
    platform.deploy("plain", page_html=b"\xff\x00")
    platform.set("plain", env={"A": "1"}, cors={}, limits={})
    platform.routes.add("plain", RouteWanted("GET", "example.org", "/"))
    platform.subscriptions.add("plain", SubscriptionWanted("order.*", None, "7"))
    platform.schedules.add(NewSchedule("nightly", "plain", cron="0 3 * * *", payload=b'{"a":[null,1.0]}', jitter_s=5))
    platform.deploy("own", picloud_toml=OWN)
    platform.deploy("drifted", picloud_toml=OWN.replace(b"/own", b"/drifted"))
    platform.set("drifted", limits={"wall_ms": 2000})
    platform.routes.add("drifted", RouteWanted("GET", None, "/more"))


def test_what_the_own_file_says_is_left_out_and_all_else_is_said(platform: Platform) -> None:
    furnished(platform)
    scripts = platform.export()["scripts"]
    assert scripts.keys() == {"plain", "own", "drifted"}
    assert scripts["own"] == {"files": {"main.lua": "return 1", "picloud.toml": OWN.decode()}}
    assert scripts["drifted"].keys() == {"files", "settings", "route"}
    assert scripts["drifted"]["settings"] == {"limits": {"wall_ms": 2000}}
    assert [it["path"] for it in scripts["drifted"]["route"]] == ["/drifted/{name}", "/more"]
    assert scripts["plain"]["files"]["page.html"] == {"base64": "/wA="}
    assert scripts["plain"]["settings"] == {"env": {"A": "1"}, "cors": {}}
    assert scripts["plain"]["schedule"][0]["payload"] == {"a": [None, 1]}


def test_what_was_exported_changes_nothing_where_it_is_from(platform: Platform) -> None:
    furnished(platform)
    before = platform.export()
    assert platform.apply(before, prune=True).changes == ()
    assert platform.export() == before
    assert (platform.versions("plain"), platform.announced, platform.checker.checked) == ([1], 0, 0)


def test_elsewhere_it_makes_the_same(platform: Platform, other: Platform) -> None:
    furnished(platform)
    other.deploy("plain", gone_lua=b"return 2")
    other.deploy("old")
    other.routes.add("old", RouteWanted("GET", None, "/more"))
    other.schedules.add(NewSchedule("nightly", "old", every="day"))
    document = platform.export()
    assert other.apply(document, prune=True).changes
    assert other.export() == document
    assert (other.announced, other.versions("plain")) == (1, [2, 1])
    assert other.apply(document, prune=True).changes == ()
    assert (other.announced, other.versions("plain")) == (1, [2, 1])
    assert [it.origin for it in other.schedules.page(10, "")] == [it.origin for it in platform.schedules.page(10, "")]


@pytest.fixture
def other(other_database: str) -> Iterator[Platform]:
    with closing(Pool(other_database, size=4, wait_ms=5_000)) as pool:
        yield Platform(pool)


def test_one_source_that_does_not_compile_keeps_all_from_being_stored(platform: Platform, other: Platform) -> None:
    furnished(platform)
    document = platform.export()
    document["scripts"]["plain"]["files"]["main.lua"] = "broken"
    other.deploy("own")
    before = other.export()
    with pytest.raises(InvalidSource, match=r"scripts/plain/main\.lua:3: no Lua"):
        other.apply(document, prune=True)
    assert (other.export(), other.announced) == (before, 0)


def test_what_clashes_at_the_end_undoes_what_came_before(platform: Platform) -> None:
    platform.deploy("mine")
    platform.schedules.declare([NewSchedule("theirs", "mine", every="hour")])
    before = platform.export()
    schedule = {"name": "theirs", "every": "day"}
    document = {
        "scripts": {
            "a-new-one": {"files": {"main.lua": "return 2"}, "route": [{"path": "/new"}]},
            "mine": {"files": {"main.lua": "return 3"}, "schedule": [schedule]},
        }
    }
    for dry_run in (True, False):
        with pytest.raises(Conflict, match="declared by the server's configuration"):
            platform.apply(document, dry_run=dry_run)
    assert (platform.export(), platform.announced, platform.versions("mine")) == (before, 0, [1])


def test_a_dry_run_says_the_same_and_changes_nothing(platform: Platform, other: Platform) -> None:
    furnished(platform)
    other.deploy("old")
    before, document = other.export(), platform.export()
    would = other.apply(document, prune=True, dry_run=True)
    assert (other.export(), other.announced) == (before, 0)
    assert other.apply(document, prune=True).changes == would.changes
    assert ConfigChange(Action.REMOVE, Thing.SCRIPT, "old", "old") in would.changes
    assert ConfigChange(Action.ADD, Thing.SETTING, "plain", "env.A", None, "1") in would.changes
    assert ConfigChange(Action.ADD, Thing.FILE, "own", "picloud.toml") in would.changes


def test_without_prune_what_is_not_named_stays(platform: Platform) -> None:
    furnished(platform)
    before = platform.export()
    plain = {"files": {"main.lua": "return 1", "page.html": {"base64": "/wA="}}, "settings": {"cors": {}}}
    done = platform.apply({"scripts": {"plain": plain}})
    assert [(it.thing, it.name) for it in done.changes] == [(Thing.SETTING, "env.A")]
    expected = before["scripts"] | {"plain": {**before["scripts"]["plain"], "settings": {"cors": {}}}}
    assert platform.export()["scripts"] == expected


def test_prune_leaves_one_script_as_bare_as_it_is_named(platform: Platform) -> None:
    furnished(platform)
    document = {"scripts": {"plain": {"files": {"main.lua": "return 1", "page.html": {"base64": "/wA="}}}}}
    changes = platform.apply(document, prune=True).changes
    assert platform.export() == document
    assert [(it.action, it.thing, it.name) for it in changes] == [
        (Action.REMOVE, Thing.SCRIPT, "drifted"),
        (Action.REMOVE, Thing.SCRIPT, "own"),
        (Action.REMOVE, Thing.SETTING, "cors"),
        (Action.REMOVE, Thing.SETTING, "env.A"),
        (Action.REMOVE, Thing.ROUTE, "GET example.org/"),
        (Action.REMOVE, Thing.SUBSCRIPTION, "order.*, subject 7"),
        (Action.REMOVE, Thing.SCHEDULE, "nightly"),
    ]


def test_a_route_and_a_schedule_may_change_hands(platform: Platform) -> None:
    platform.deploy("a", picloud_toml=b"[[route]]\npath = '/x/{a}'\n[[schedule]]\nname = 'tick'\nevery = 'day'\n")
    platform.deploy("b")
    moved = {"route": [{"path": "/x/{b}"}], "schedule": [{"name": "tick", "every": "day"}]}
    platform.apply({"scripts": {"b": {"files": {"main.lua": "return 1"}, **moved}}})
    (route,), (schedule,) = platform.routes.all(), platform.schedules.page(10, "")
    assert (route.script, route.path, schedule.script) == ("b", "/x/{b}", "b")
    platform.scripts.delete("a")
    assert platform.schedules.page(10, "") == [schedule], "it goes with its new script, not with the old one"


def test_what_a_run_made_and_what_the_operators_file_declares_is_no_configuration(platform: Platform) -> None:
    platform.deploy("a")
    platform.schedules.declare([NewSchedule("theirs", "a", every="hour")])
    with platform.pool.transaction() as cursor:
        maker = Maker(Origin.SCRIPT, lock(cursor, "a").id)  # type: ignore[union-attr]
        schedules.put(through(cursor), NewSchedule("made", "a", every="day"), maker)
    document = platform.export()
    assert document == {"scripts": {"a": {"files": {"main.lua": "return 1"}}}}
    assert platform.apply(document, prune=True).changes == ()
    assert [it.name for it in platform.schedules.page(10, "")] == ["made", "theirs"]
    document["scripts"]["a"]["schedule"] = [{"name": "made", "every": "day"}]
    with pytest.raises(Conflict, match="was made by a run of script 'a'"):
        platform.apply(document)


def test_a_later_deploy_takes_back_what_the_own_file_declared(platform: Platform, other: Platform) -> None:
    furnished(platform)
    other.apply(platform.export())
    other.deploy("drifted", picloud_toml=b"[settings]\n")
    assert [it.path for it in other.routes.all() if it.script == "drifted"] == ["/more"]


def test_two_who_apply_do_not_overwrite_each_other(platform: Platform) -> None:
    platform.deploy("a")
    tag = platform.configuration.export()[1]
    first = {"scripts": {"a": {"files": {"main.lua": "return 2"}}}}
    now = platform.apply(first, only_if={tag}).tag
    assert now == platform.configuration.export()[1] != tag
    with pytest.raises(PreconditionFailed, match=now):
        platform.apply({"scripts": {"a": {"files": {"main.lua": "return 3"}}}}, only_if={tag})
    assert platform.apply(first, only_if={now}).tag == now


def test_a_change_at_the_same_moment_is_seen_and_decided_about_anew(platform: Platform) -> None:
    platform.deploy("a")
    table = ConfigurationTable(platform.pool)

    class Meanwhile(ConfigurationTable):
        def apply(self, plan: Plan, tag: str, *, keep: bool) -> None:
            if platform.versions("a") == [1]:
                platform.deploy("a", also_lua=b"return 2")
            table.apply(plan, tag, keep=keep)

    ours = Configuration(Meanwhile(platform.pool), platform.checker, RULES, lambda: None)
    document = msgspec.convert({"scripts": {"a": {"files": {"main.lua": "return 2"}}}}, ConfigDocument)
    names = [it.name for it in ours.apply(document, "test").changes]
    assert names == ["also.lua", "main.lua"]
    assert platform.checker.checked == 1
    assert platform.versions("a") == [3, 2, 1]


def test_settings_beyond_what_the_operator_allows_now_may_stay_and_not_come(platform: Platform) -> None:
    platform.deploy("a")
    platform.set("a", limits={"wall_ms": 10_000})
    document = platform.export()
    smaller = Platform(platform.pool, SettingsRules(replace(DEFAULT_POLICY, maxima=Limits(wall_ms=1000))))
    assert smaller.export() == document
    assert smaller.apply(document).changes == ()
    document["scripts"]["a"]["settings"]["limits"]["wall_ms"] = 9_000
    with pytest.raises(InvalidRequest, match=r"scripts/a: settings\.limits\.wall_ms: at most 1000"):
        smaller.apply(document)


def test_secrets_that_are_granted_and_missing_are_named_and_values_are_nowhere(platform: Platform) -> None:
    platform.deploy("a")
    platform.set("a", secrets=["HERE", "GONE"], webhook={"preset": "github", "secret": "SIGNED"})
    SecretTable(platform.pool).put("HERE", lambda: "sealed value")
    document = platform.export()
    assert "value" not in str(document)
    assert platform.apply(document).missing_secrets == ("GONE", "SIGNED")


WRONG: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "a script's name": ({"A b": {}}, "scripts.A b.name"),
    "an unknown table": ({"a": {"routes": []}}, "scripts.a.routes"),
    "a type": ({"a": {"route": [{"path": 1}]}}, "scripts.a.route[0].path"),
    "a file's type": ({"a": {"files": {"x.lua": 5}}}, "scripts.a.files.x.lua"),
    "a setting's type": ({"a": {"settings": {"env": {"A": 5}}}}, "scripts.a.settings.env.A"),
    "no main.lua": ({"a": {"files": {"x.lua": ""}}}, "scripts.a.files.main.lua"),
    "a path that leads out": ({"a": {"files": {"../x": ""}}}, "scripts.a.files.../x"),
    "no base64": ({"a": {"files": {"x": {"base64": "?"}}}}, "scripts.a.files.x"),
    "a route": ({"a": {"route": [{"path": "x"}]}}, "scripts.a.route[0].path"),
    "a route twice": ({"a": {"route": [{"path": "/{x}"}, {"path": "/{y}"}]}}, "scripts.a.route[1]"),
    "two scripts' route": ({"a": {"route": [{"path": "/x"}]}, "b": {"route": [{"path": "/x"}]}}, "scripts.b.route"),
    "a subscription": ({"a": {"subscription": [{"type": "*.x"}]}}, "scripts.a.subscription[0].type"),
    "a schedule": ({"a": {"schedule": [{"every": "never"}]}}, "scripts.a.schedule[0].every"),
    "one schedule of two": (
        {"a": {"schedule": [{"name": "x", "every": "day"}]}, "b": {"schedule": [{"name": "x", "every": "day"}]}},
        "scripts.b.schedule",
    ),
    "a limit": ({"a": {"settings": {"limits": {"wall_ms": 10**7}}}}, "scripts.a.settings.limits.wall_ms"),
    "the own file": ({"a": {"files": {"picloud.toml": "[[route]]\npath = 'x'"}}}, "scripts.a.route[0].path"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_script_and_field(platform: Platform, what: str) -> None:
    scripts, field = WRONG[what]
    whole = {
        name: {**it, "files": it.get("files", {}) if "main" in what else {"main.lua": "", **it.get("files", {})}}
        for name, it in scripts.items()
    }
    with pytest.raises(InvalidRequest) as raised:
        platform.apply({"scripts": whole})
    assert raised.value.errors[0]["field"] == field
    assert platform.export() == {"scripts": {}}


def test_all_files_together_have_a_limit(platform: Platform) -> None:
    megabyte = "-" * (1024 * 1024 - 9)
    files = {"main.lua": "return 1", "x": megabyte}
    scripts = {f"s{number}": {"files": files} for number in range(17)}
    with pytest.raises(BodyTooLarge, match="with script 's16'"):
        platform.apply({"scripts": scripts})
    for name in scripts:
        platform.deploy(name, x=megabyte.encode())
    with pytest.raises(Conflict, match="together"):
        platform.configuration.export()


WORDS = st.text("abxyz", min_size=1, max_size=3)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "access": st.sampled_from(["public", "token"]),
        "env": st.dictionaries(WORDS, TEXTS, max_size=2),
        "limits": st.fixed_dictionaries({}, optional={"wall_ms": st.integers(1, 300_000)}),
        "cors": st.just({}) | st.just({"origins": ["*"], "headers": ["X-A"]}),
        "allow_hosts": st.lists(st.sampled_from(["Example.org", "*.a.b:80"]), max_size=2),
        "secrets": st.lists(WORDS, max_size=3),
        "expose_errors": st.booleans(),
        "retry": st.fixed_dictionaries({}, optional={"max_attempts": st.integers(1, 9)}),
        "webhook": st.just({"preset": "github", "secret": "S"})
        | st.just({"preset": "custom", "secret": "S", "header": "X-Sig", "prefix": "v1="}),
    },
)
SUBSCRIPTIONS = st.lists(
    st.fixed_dictionaries({"type": WORDS}, optional={"source": TEXTS.filter(str.isalpha)}),
    max_size=2, unique_by=lambda it: (it["type"], it.get("source")),
)  # fmt: skip
TIMES = st.sampled_from([{"every": "10 minutes"}, {"every": "day", "at": "09:00"}, {"cron": "*/5 * * * *"}])


@st.composite
def scripts_of(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """One script, whose routes and schedules are no other's; all, some or none of it said by its own file."""
    paths = draw(st.lists(st.sampled_from(["", "/{a}", "/b", "/{a}/c", "/{rest*}"]), unique=True, max_size=3))
    method = draw(st.sampled_from(["ANY", "get"]))
    times = draw(st.lists(TIMES, max_size=2))
    tables = {
        "settings": draw(SETTINGS),
        "route": [{"method": method, "path": f"/{name}{path}"} for path in paths],
        "subscription": draw(SUBSCRIPTIONS),
        "schedule": [
            {**it, "name": f"{name}-{at}", "payload": draw(PAYLOADS), "jitter": draw(st.integers(0, 9))}
            for at, it in enumerate(times)
        ],
    }
    files: dict[str, Any] = {"main.lua": draw(TEXTS), "a/.b": {"base64": b64encode(draw(st.binary())).decode()}}
    own = draw(st.none() | st.sets(st.sampled_from(sorted(tables))))
    if own is not None:
        said = {kind: table for kind, table in tables.items() if kind in own and kind != "schedule"}
        files["picloud.toml"] = "# own\n" + toml.document(said)
        tables = {kind: table for kind, table in tables.items() if kind not in said}
    return {"files": files, **tables}


CONFIGURATIONS = st.fixed_dictionaries({}, optional={name: scripts_of(name) for name in ("a", "b-2", "c")})


@given(first=CONFIGURATIONS, second=CONFIGURATIONS, prune=st.booleans())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_export_apply_export_is_the_identity_whatever_was_there(
    platform: Platform, other: Platform, tmp_path: Path, first: Any, second: Any, prune: bool
) -> None:
    platform.apply({"scripts": first}, prune=True)
    assert platform.apply({"scripts": first}, prune=True).changes == ()
    platform.apply({"scripts": second}, prune=prune)
    exported = platform.configuration.export()[0]
    folder, again = Path(mkdtemp(dir=tmp_path)), Path(mkdtemp(dir=tmp_path))
    config_folder.write(folder, exported)
    sent = msgspec.json.decode(msgspec.json.encode(config_folder.read(folder)[0]))
    assert platform.apply(sent, prune=True).changes == ()
    other.apply(sent, prune=True)  # where another example's scripts stand
    config_folder.write(again, other.configuration.export()[0])
    assert contents(again) == contents(folder)
    assert other.apply(sent, prune=True).changes == ()


def contents(folder: Path) -> dict[str, bytes]:
    """Path → what is in the file."""
    return {str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()}


def test_every_example_is_the_same_after_a_way_there_and_back(platform: Platform, other: Platform) -> None:
    examples = ROOT / "config" / "examples"
    for path in sorted(examples.iterdir()):
        source = read_source(path)
        name = script_name_of(path)
        declared = manifest.read(source.files, RULES, script=name)
        platform.scripts.put(name, Upload(source.files, bundle.digest(source.files), "test"), declared=declared)
    document = platform.export()
    assert len(document["scripts"]) == len(list(examples.iterdir()))
    assert all(it.keys() == {"files"} for it in document["scripts"].values()), "their own files say all"
    other.apply(document)
    assert other.export() == document
    assert other.configuration.export()[1] == platform.configuration.export()[1]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"script": {}}', b'{"scripts": []}', b"[" * 100_000])
def test_what_is_no_document_is_no_document(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body"):
        read_document(body)
