"""The schedules of the server's own picloud.toml: read as a whole or not at all, applied when it is told."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from picloud.errors import ConfigurationError
from picloud.manager.schedule_config import ConfiguredSchedules, read
from picloud.model import NewSchedule, Overlap
from tests.running import ROOT

SAMPLE = ROOT / "config" / "picloud.toml"


class Shelf:
    """What was declared last; what it says of clashes is what it was told to."""

    def __init__(self, clashes: Sequence[str] = ()) -> None:
        self.clashes = list(clashes)
        self.declared: Sequence[NewSchedule] | None = None

    def declare(self, wanted: Sequence[NewSchedule]) -> list[str]:
        self.declared = wanted
        return self.clashes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "picloud.toml"


def test_what_stands_there_is_what_is_declared(file: Path) -> None:
    file.write_text(
        """
        [server]
        workers = 1
        [[schedule]]
        name = "nightly"
        script = "reports"
        cron = "0 3 * * *"
        timezone = "Europe/Berlin"
        payload = { to = ["a", "b"] }
        [[schedule]]
        name = "often"
        script = "reports"
        every = "10 minutes"
        overlap = "queue"
        missed_within = "90 minutes"
        jitter = 20
        """
    )
    often = NewSchedule(
        "often", "reports", every="10 minutes", overlap=Overlap.QUEUE, missed_within_s=5400, jitter_s=20
    )
    assert read(str(file)) == (
        NewSchedule("nightly", "reports", "0 3 * * *", timezone="Europe/Berlin", payload=b'{"to":["a","b"]}'),
        often,
    )


def test_the_schedule_of_the_sample_is_one_and_says_the_defaults(file: Path) -> None:
    file.write_text(re.sub(r"^# (?=[a-z_]+ = |\[\[)", "", SAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    payload = b'{"to":["ada@example.org"]}'
    sample = NewSchedule("nightly-report", "report", "0 3 * * *", timezone="Europe/Berlin", payload=payload)
    assert read(str(file)) == (sample,)


def test_a_file_without_any_declares_that_there_are_none_and_no_file_declares_nothing(file: Path) -> None:
    file.write_text("")
    assert read(str(file)) == ()
    assert read("") is None


def test_all_that_is_wrong_is_said_at_once_with_its_place(file: Path) -> None:
    file.write_text(
        """
        [[schedule]]
        name = "fine"
        script = "a"
        cron = "@daily"
        [[schedule]]
        name = "fine"
        script = "a"
        cron = "61 * * * *"
        jitter = "a while"
        [[schedule]]
        name = "missing"
        every = "day"
        [[schedule]]
        name = "unknown"
        script = "a"
        evry = "day"
        [[schedule]]
        name = "both"
        script = "a"
        every = "day"
        at = "25:00"
        timezone = "Mars/Olympus"
        """
    )
    with pytest.raises(ConfigurationError) as caught:
        read(str(file))
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}: schedule[") for line in lines)
    places = [line.removeprefix(f"{file}: ") for line in lines]
    assert [place.partition(":")[0] for place in places] == [
        "schedule[1].name", "schedule[1].jitter", "schedule[1].cron", "schedule[2].script", "schedule[3].evry",
        "schedule[4].timezone",
    ]  # fmt: skip
    assert "'fine' is the name of schedule[0], too" in lines[0]
    assert "did you mean 'every'?" in lines[4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[schedule]\nname = 'a'", "two pairs of brackets"),
        ("[[schedul]]\nname = 'a'", "did you mean 'schedule'?"),
        ("[[schedule]]\nname = 5\nscript = 'a'\ncron = '@daily'", "schedule[0].name: must be text"),
        ("schedule = [3]", "schedule[0]"),
        ("[[schedule", "picloud.toml"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read(str(file))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


ONE = "[[schedule]]\nname = 'one'\nscript = 'a'\ncron = '@daily'\n"


def test_applying_tells_the_dispatchers_afterwards_and_logs_names_that_others_have(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(ONE)
    shelf = Shelf(["schedule 'one' was made by the API: delete it first"])
    seen: list[Sequence[NewSchedule] | None] = []
    with caplog.at_level(logging.ERROR):
        ConfiguredSchedules(str(file), shelf, lambda: seen.append(shelf.declared)).apply()
    assert seen == [(NewSchedule("one", "a", "@daily"),)]
    assert f"{file}: schedule 'one' was made by the API" in caplog.text


def test_a_file_that_went_wrong_changes_nothing_when_it_is_read_again(file: Path) -> None:
    file.write_text(ONE)
    shelf = Shelf()
    configured = ConfiguredSchedules(str(file), shelf, lambda: None)
    configured.apply()
    before = shelf.declared
    assert before
    for text in ("[[schedule]]\nname = 'one'", "[[", None):
        file.unlink() if text is None else file.write_text(text)
        with pytest.raises(ConfigurationError, match=str(file)):
            configured.apply()
        assert shelf.declared is before


def test_a_server_without_a_file_leaves_all_as_it_is() -> None:
    shelf = Shelf()
    ConfiguredSchedules("", shelf, lambda: pytest.fail("nothing changed")).apply()
    assert shelf.declared is None
