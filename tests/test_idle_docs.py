"""docs/idle.md and config/postgresql.conf say what is so."""

import re
import tomllib

from picloud.cli.idle import Report, as_document
from picloud.idle import contract
from picloud.idle.usage import Fate, Measured, Usage
from picloud.storage import activity, cluster
from picloud.storage.activity import Asked
from tests.documents import rows, section, spans
from tests.running import ROOT

PAGE = ROOT / "docs" / "idle.md"
USAGE = Usage("picloud.service", 7, "picloud.server", Fate.STAYED, 0, 0, 0, 0, 0, 4096, {})


def settings() -> dict[str, str]:
    """What the file for conf.d sets: quoted texts and numbers are TOML's, bare words are not."""
    text = re.sub(r"= (\w*[a-z]\w*)$", r"= '\1'", (ROOT / "config" / "postgresql.conf").read_text(), flags=re.MULTILINE)
    return {name: str(value) for name, value in tomllib.loads(text).items()}


def test_debians_postgresql_is_tuned_as_the_embedded_one_is() -> None:
    embedded = cluster._CONFIG
    assert settings() == {name: embedded[name] for name in settings()}


def test_the_doctor_misses_each_setting_that_is_there_for_sleep() -> None:
    asked = {*activity.AT_LEAST, *activity.ZERO}
    assert asked == {
        name for name in settings() if name not in ("max_wal_size", "min_wal_size", "jit", "deadlock_timeout")
    }


def test_the_number_of_wake_ups_is_the_one_that_is_asserted() -> None:
    promised = section(PAGE, "## What is promised")
    assert f"| wake-ups | {contract.WAKEUPS_A_MINUTE_MAX} a minute at most |" in promised


def test_the_page_has_every_key_of_the_json_and_no_other() -> None:
    usages = (USAGE, Usage("postgresql", 8, "postgres", Fate.STAYED, 1, 0, 0, 0, 0, 4096, {}))
    document = as_document(Report(Measured(1.0, usages), Asked(frozenset(), ()), (), ()))
    about = {spans(key)[0]: spans(text) for key, text in rows(section(PAGE, "## As JSON"))}
    assert [*about] == [*document]
    assert about["postgresql"][:3] == [*document["postgresql"]]
    assert [key for key in about["processes"] if key not in set(Fate)] == [*document["processes"][0]]
