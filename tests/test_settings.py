"""The operator's settings: environment over file over default, and what is wrong is named."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from picloud.errors import ConfigurationError
from picloud.model import DEFAULT_POLICY, Access, Policy
from picloud.settings import ServerSettings, load
from tests.documents import rows
from tests.running import ROOT

TABLE = ROOT / "docs" / "settings.md"
SAMPLE = ROOT / "config" / "picloud.toml"
SWITCH = re.compile(r"^# (?=[a-z_]+ = |\[\[)", re.MULTILINE)


def test_without_anything_the_defaults_hold() -> None:
    assert load({}) == ServerSettings()


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "picloud.toml"
    file.write_text('[server]\nworkers = 3\nbind = "127.0.0.1:1"\n')
    settings = load({"PICLOUD_CONFIG": str(file), "PICLOUD_WORKERS": "4"})
    assert (settings.workers, settings.bind) == (4, "127.0.0.1:1")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PICLOUD_WORKER": "1"}, "PICLOUD_WORKER is not a setting; did you mean PICLOUD_WORKERS?"),
        ({"PICLOUD_WORKERS": "two"}, "PICLOUD_WORKERS='two': "),
        ({"PICLOUD_WORKERS": "0"}, "PICLOUD_WORKERS='0': must be a whole number from 1 to 16"),
        ({"PICLOUD_BIND": "8080"}, "PICLOUD_BIND='8080': must be HOST:PORT or unix:PATH"),
        ({"PICLOUD_BIND": "localhost:99999"}, "must be HOST:PORT"),
        ({"PICLOUD_WORKERS": "1.5"}, "must be a whole number"),
        ({"PICLOUD_RETENTION_DAYS": "9" * 30}, "must be a whole number"),
        ({"PICLOUD_POOL_MAX": "1"}, "pool_spare=8 is more than pool_max=1"),
        (
            {"PICLOUD_PRIVATE_HOSTS": "nas, *.lan"},
            "PICLOUD_PRIVATE_HOSTS='nas, *.lan': '*.lan': name each host",
        ),
        ({"PICLOUD_PRIVATE_HOSTS": "http://nas"}, "PICLOUD_PRIVATE_HOSTS='http://nas': '//nas' is no port"),
        ({"PICLOUD_PARKED_MAX": "-1"}, "must be a whole number from 0 to 4096"),
        ({"PICLOUD_TRUSTED_PROXIES": "bogus"}, "PICLOUD_TRUSTED_PROXIES='bogus': "),
        ({"PICLOUD_DEFAULT_ACCESS": "nobody"}, "PICLOUD_DEFAULT_ACCESS='nobody': must be one of public, token"),
        ({"PICLOUD_WALL_MS_MAX": "0"}, "PICLOUD_WALL_MS_MAX='0': must be a whole number from 1 to 86400000"),
        ({"PICLOUD_MEMORY_BYTES_MAX": "1000"}, "must be a whole number from 1048576 to "),
        ({"PICLOUD_MEMORY_MAX": "1"}, "did you mean PICLOUD_MEMORY_BYTES_MAX?"),
        ({"PICLOUD_CONFIG": "/nowhere.toml"}, "PICLOUD_CONFIG=/nowhere.toml: No such file"),
    ],
)
def test_what_is_wrong_is_named_with_where_it_stands(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environ)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", [b"bind = '127.0.0.1:1'", b"server = 5", b"\xff", b"[server"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "picloud.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError, match=re.escape(str(file))):
        load({"PICLOUD_CONFIG": str(file)})


def test_a_wrong_key_in_the_file_is_named_with_its_file(tmp_path: Path) -> None:
    file = tmp_path / "picloud.toml"
    file.write_text("[server]\nthread = 3\n")
    with pytest.raises(ConfigurationError, match=r"did you mean .*server\.threads"):
        load({"PICLOUD_CONFIG": str(file)})


def test_the_environment_of_a_child_process_gives_the_same_settings(tmp_path: Path) -> None:
    settings = ServerSettings(data=tmp_path, workers=5, bind="unix:/tmp/x")
    assert load(settings.environment()) == settings


def test_the_maxima_and_the_default_access_are_one_policy() -> None:
    assert load({}).policy == DEFAULT_POLICY
    policy = load({"PICLOUD_CPU_MS_MAX": "7", "PICLOUD_DEFAULT_ACCESS": "token"}).policy
    assert policy == Policy(dataclasses.replace(DEFAULT_POLICY.maxima, cpu_ms=7), Access.TOKEN)


def test_a_run_folder_that_is_too_deep_for_a_socket_is_made_elsewhere(tmp_path: Path) -> None:
    deep = ServerSettings(data=tmp_path / ("d" * 120))
    assert len(str(deep.run_dir)) < 80
    assert ServerSettings(data=Path("/srv/picloud")).run_dir == Path("/srv/picloud/run")


def test_the_table_in_the_docs_holds_every_setting_with_its_default_and_no_other() -> None:
    before_schedules = TABLE.read_text(encoding="utf-8").partition("\n## Schedules\n")[0]
    documented = {variable: (key, default) for variable, key, default, _ in rows(before_schedules)}
    assert documented == {
        f"`PICLOUD_{item.name.upper()}`": ("" if item.name == "config" else f"`{item.name}`", shown(item.default))
        for item in dataclasses.fields(ServerSettings)
    }


def shown(default: object) -> str:
    """A default as the table shows it."""
    return str(default) if isinstance(default, int) else f"`{default}`" if str(default) else ""


def test_the_sample_configuration_is_all_defaults_commented_out() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert tomllib.loads(text) == {"server": {}}
    switched_on = tomllib.loads(SWITCH.sub("", text))
    assert switched_on["server"] == {
        item.name: item.default if isinstance(item.default, int) else str(item.default)
        for item in dataclasses.fields(ServerSettings)
        if item.name != "config"
    }


def test_the_sample_configuration_can_be_used() -> None:
    assert load({"PICLOUD_CONFIG": str(SAMPLE)}) == ServerSettings(config=str(SAMPLE))
