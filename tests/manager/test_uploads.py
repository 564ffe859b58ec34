"""The rules of an upload: what is refused is refused before anything is stored."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from picloud.declared import Declared
from picloud.errors import InvalidRequest, InvalidSource
from picloud.manager.bundle import digest
from picloud.manager.settings import SettingsRules
from picloud.manager.uploads import Uploads
from picloud.model import (
    DEFAULT_POLICY,
    Condition,
    Missed,
    NewSchedule,
    Overlap,
    SettingsChange,
    SyntaxProblem,
    Upload,
    Uploaded,
)
from picloud.patterns import RouteWanted

MAIN = {"main.lua": b"return 1"}


class Shelf:
    """Remembers what was put and what was announced."""

    def __init__(self) -> None:
        self.put_uploads: list[Upload] = []
        self.change: SettingsChange | None = None
        self.routes: Sequence[RouteWanted] | None = None
        self.schedules: Sequence[NewSchedule] | None = None
        self.announced = 0

    def put(
        self,
        name: str,
        upload: Upload,
        condition: Condition,
        declared: Declared,
        only: Collection[str] | None,
    ) -> Uploaded:
        self.put_uploads.append(upload)
        self.change, self.routes = declared.settings, declared.routes
        self.schedules = declared.schedules
        return Uploaded(len(self.put_uploads), 1, created=True)

    def announce(self) -> None:
        self.announced += 1


class Checker:
    """Finds what it is told to find."""

    def __init__(self, problem: SyntaxProblem | None = None) -> None:
        self.problem = problem

    def check(self, files: Mapping[str, bytes]) -> SyntaxProblem | None:
        return self.problem


def uploads(shelf: Shelf, problem: SyntaxProblem | None = None) -> Uploads:
    return Uploads(shelf, Checker(problem), SettingsRules(DEFAULT_POLICY), shelf.announce)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_files_that_compile_are_stored_and_announced(shelf: Shelf) -> None:
    done = uploads(shelf).upload("hello", MAIN, "me")
    assert done == Uploaded(1, 1, created=True)
    assert shelf.put_uploads == [Upload(MAIN, digest(MAIN), "me", activate=True)]
    assert shelf.announced == 1


def test_what_is_not_activated_changes_nothing_that_anybody_keeps(shelf: Shelf) -> None:
    uploads(shelf).upload("hello", MAIN, "me", activate=False)
    assert [upload.activate for upload in shelf.put_uploads] == [False]
    assert shelf.announced == 0


def test_a_source_that_does_not_compile_is_not_stored(shelf: Shelf) -> None:
    with pytest.raises(InvalidSource) as caught:
        uploads(shelf, SyntaxProblem("lib/a.lua", 3, "'=' expected")).upload("hello", MAIN, "me")
    assert (caught.value.file, caught.value.line, str(caught.value)) == ("lib/a.lua", 3, "lib/a.lua:3: '=' expected")
    assert (shelf.put_uploads, shelf.announced) == ([], 0)


def test_a_name_that_is_none_is_refused(shelf: Shelf) -> None:
    with pytest.raises(InvalidRequest, match="cannot be a script's name"):
        uploads(shelf).upload("No Name", MAIN, "me")
    assert not shelf.put_uploads


def with_toml(text: str | bytes) -> dict[str, bytes]:
    return {**MAIN, "picloud.toml": text if isinstance(text, bytes) else text.encode()}


def test_without_picloud_toml_nothing_is_declared(shelf: Shelf) -> None:
    uploads(shelf).upload("hello", MAIN, "me")
    assert (shelf.change, shelf.routes) == (None, None)


@pytest.mark.parametrize("text", ["", "# nothing\n", "route = []"])
def test_an_empty_one_declares_that_there_are_no_routes(shelf: Shelf, text: str) -> None:
    uploads(shelf).upload("hello", with_toml(text), "me")
    assert (shelf.change, shelf.routes) == (None, ())


def test_what_it_declares_goes_along_with_the_version(shelf: Shelf) -> None:
    text = """
        [settings]
        access = "token"
        limits = { wall_ms = 500 }
        env.COLOUR = "blue"

        [settings.cors]
        origins = ["HTTPS://Example.org:443"]

        [[route]]
        path = "/hi/{name}"

        [[route]]
        method = "post"
        host = "Example.org"
        path = "/"
    """
    uploads(shelf).upload("hello", with_toml(text), "me")
    assert shelf.routes == (RouteWanted("ANY", None, "/hi/{name}"), RouteWanted("POST", "example.org", "/"))
    assert shelf.change
    assert shelf.change({"env": {"SIZE": "7"}, "limits": {"cpu_ms": 9}}) == {
        "access": "token",
        "limits": {"cpu_ms": 9, "wall_ms": 500},
        "env": {"SIZE": "7", "COLOUR": "blue"},
        "cors": {"origins": ["https://example.org"]},
    }


def test_its_schedules_have_the_scripts_name_unless_they_have_their_own(shelf: Shelf) -> None:
    text = """
        [[schedule]]
        cron = "*/5 * * * *"
        timezone = "Europe/Berlin"
        payload = { what = ["this", 1], when = 1979-05-27 }
        overlap = "allow"
        missed = "run-all"
        missed_within = "2 hours"
        jitter = "30 seconds"

        [[schedule]]
        every = "monday"
        at = "09:00"
        missed_within = 60

        [[schedule]]
        name = "nightly"
        cron = "@daily"
    """
    uploads(shelf).upload("hello", with_toml(text), "me")
    payload = b'{"what":["this",1],"when":"1979-05-27"}'
    policies: dict[str, Any] = {
        "overlap": Overlap.ALLOW,
        "missed": Missed.RUN_ALL,
        "missed_within_s": 7200,
        "jitter_s": 30,
    }
    assert shelf.schedules == (
        NewSchedule("hello", "hello", "*/5 * * * *", timezone="Europe/Berlin", payload=payload, **policies),
        NewSchedule("hello-2", "hello", every="monday", at="09:00", missed_within_s=60),
        NewSchedule("nightly", "hello", "@daily"),
    )


def test_two_schedules_of_one_name_are_refused_by_the_second(shelf: Shelf) -> None:
    text = "[[schedule]]\ncron = '@daily'\n[[schedule]]\nname = 'hello'\ncron = '@weekly'"
    with pytest.raises(InvalidRequest, match=r"schedule\[1\]\.name: 'hello' is the name of schedule\[0\], too"):
        uploads(shelf).upload("hello", with_toml(text), "me")


def test_all_that_is_wrong_with_its_schedules_is_said_at_once(shelf: Shelf) -> None:
    text = "[[schedule]]\ncron = 'now'\njitter = 'a'\n[[schedule]]\nname = ''\nevery = 'day'\nat = 'noon'"
    with pytest.raises(InvalidRequest) as caught:
        uploads(shelf).upload("hello", with_toml(text), "me")
    fields = [one["field"] for one in caught.value.errors]
    assert fields == ["schedule[0].jitter", "schedule[0].cron", "schedule[1].name", "schedule[1].at"]


REFUSED: list[tuple[str | bytes, str, str]] = [
    (".".join(["a"] * 8_000) + "=1", "more than 50 parts", ""),
    ("[" + "a." * 4_000 + "a]", "more than 50 parts", ""),
    ("[settings.env]\n" + ".".join(['"a"'] * 60) + " = 'x'", "more than 50 parts", ""),
    ("[settings", "picloud.toml: ", "end of document"),
    ("x = 1\nx = 2\ny = 3", "picloud.toml: ", "line 2"),
    (b"\xff", "picloud.toml is not UTF-8 at byte 0", ""),
    ("a = " + "[" * 5_000, "picloud.toml is nested too deeply", ""),
    ("a = " + "9" * 5_000, "picloud.toml: ", "digits"),
    ("#" * (16 * 1024 + 1), "picloud.toml has 16385 bytes", ""),
    ("[setting]\n", "picloud.toml: setting: is not known", "did you mean 'settings'?"),
    ("[settings]\naces = 'token'", "picloud.toml: settings.aces: is not known", "did you mean 'access'?"),
    ("[settings]\naccess = 'nobody'", "picloud.toml: settings.access: ", "nobody"),
    (
        "[settings.limits]\nwall_ms = 'x'",
        "picloud.toml: settings.limits.wall_ms: must be a whole number or null, not text",
        "",
    ),
    ("[settings.limits]\nwall_ms = 300001", "picloud.toml: settings.limits.wall_ms: at most 300000", "wall_ms_max"),
    ("[settings.env]\n1A = 'x'", "picloud.toml: settings.env.1A: is no name", ""),
    ("[settings.env]\nA = 1979-05-27", "picloud.toml: settings.env", "date"),
    ("[[route]]\nmethod = 'GET'", "picloud.toml: route[0].path: is missing", ""),
    ("[[route]]\npath = '/ok'\n[[route]]\npath = 'no'", "picloud.toml: route[1].path: ", "must start with '/'"),
    ("[[route]]\npath = '/api/x'", "picloud.toml: route[0].path: ", "reserved"),
    ("[[route]]\npth = '/x'", "picloud.toml: route[0].pth: is not known", "did you mean 'path'?"),
    ("[[route]]\npath = '/{a}'\n[[route]]\npath = '/{b}'", "picloud.toml: route[1]: ", "as good as"),
    ("[[schedule]]\nevery = '1m'", "picloud.toml: schedule[0].every: '1m' is no interval", "write '10 minutes'"),
    ("[[schedule]]\nevry = '1 minute'", "picloud.toml: schedule[0].evry: is not known", "did you mean 'every'?"),
    ("[[schedule]]\ncron = '@daily'\n[[schedule]]\ncron = '@dayly'", "picloud.toml: schedule[1].cron: ", "@daily"),
    ("[[schedule]]\ncron = '@daily'\nevery = 'day'", "picloud.toml: schedule[0].every: give either", ""),
    ("[[schedule]]\ncron = '@daily'\ntimezone = 'Europe/Berln'", "schedule[0].timezone: ", "'Europe/Berlin'?"),
    ("[[schedule]]\ncron = '@daily'\noverlap = 'wait'", "schedule[0].overlap: 'wait' is not known", ""),
    ("[[schedule]]\ncron = '@daily'\njitter = 'a bit'", "schedule[0].jitter: must be a time such as", ""),
    ("[[schedule]]\ncron = '@daily'\nmissed_within = '2 years'", "schedule[0].missed_within: must be a time", ""),
    ("[[schedule]]\ncron = '@daily'\njitter = '3 days'", "schedule[0].jitter: must be 0 to 86400 seconds", ""),
    ("[[schedule]]\ncron = '@daily'\nname = 'No Name'", "schedule[0].name: ", "cannot be a schedule's name"),
    ("[[schedule]]\ncron = '@daily'\n" * 101, "schedule: has 101 entries, at most 100 are taken", ""),
    ("[[schedules]]\nevery = '1m'", "picloud.toml: schedules: is not known", ""),
]


@pytest.mark.parametrize(("text", "message", "also"), REFUSED)
@pytest.mark.parametrize("activate", [True, False])
def test_a_picloud_toml_that_is_wrong_stores_nothing(
    shelf: Shelf, text: str | bytes, message: str, also: str, activate: bool
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        uploads(shelf).upload("hello", with_toml(text), "me", activate=activate)
    assert message in str(caught.value)
    assert also in str(caught.value)
    assert (shelf.put_uploads, shelf.announced) == ([], 0)


def test_what_only_shows_beside_what_is_stored_is_named_too(shelf: Shelf) -> None:
    uploads(shelf).upload("hello", with_toml("[settings.cors]\ncredentials = true"), "me")
    change: Callable[[Mapping[str, Any]], object] | None = shelf.change
    assert change
    with pytest.raises(InvalidRequest, match=r"picloud.toml: settings.cors.credentials: cannot be true") as caught:
        change({"cors": {"origins": ["*"]}})
    assert [one["field"] for one in caught.value.errors] == ["settings.cors.credentials"]
