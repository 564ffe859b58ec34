"""A release is used when it is whole; two are kept; a digest names what it is made of."""

import json
from pathlib import Path

import pytest

from picloud.errors import PlatformError
from picloud.installation import build, releases
from picloud.installation.machine import Machine
from picloud.installation.places import CURRENT, PREVIOUS, RELEASES
from picloud.installation.releases import Release


def made(machine: Machine, name: str, *, whole: bool = True) -> Release:
    folder = machine.path(RELEASES / name)
    folder.mkdir(parents=True)
    if whole:
        (folder / "release.json").write_text(json.dumps({"version": name}))
    return Release(machine, name)


def test_who_switches_can_go_back(root: Path) -> None:
    machine = Machine(root)
    one, two = made(machine, "1"), made(machine, "2")
    with pytest.raises(PlatformError, match="no earlier release"):
        releases.previous(machine)
    for wanted in (one, two, two):
        releases.switch(machine, wanted)
    assert releases.led_to(machine, CURRENT) == two
    assert releases.previous(machine) == one
    releases.switch(machine, one)
    assert (releases.led_to(machine, CURRENT), releases.led_to(machine, PREVIOUS)) == (one, two)
    assert one.version == "1"


def test_one_that_was_broken_off_is_not_used(root: Path) -> None:
    machine = Machine(root)
    made(machine, "1", whole=False)
    machine.link(PREVIOUS, "releases/1")
    assert releases.led_to(machine, PREVIOUS) is None


def test_the_one_in_use_and_the_one_before_are_kept(root: Path) -> None:
    machine = Machine(root)
    assert releases.prune(machine) == []
    for name in ("1", "2", "3", "4"):
        releases.switch(machine, made(machine, name))
    made(machine, "5", whole=False)
    assert releases.prune(machine) == ["1", "2", "5"]


def test_a_release_is_named_after_all_that_it_is_made_of(tmp_path: Path) -> None:
    for name, text in (("one", "a"), ("same", "a"), ("other", "b")):
        (tmp_path / name / "picloud").mkdir(parents=True)
        (tmp_path / name / "setup.cfg").write_text("[metadata]\n")
        (tmp_path / name / "picloud/module.py").write_text(text)
    (tmp_path / "same/picloud/module.pyc").write_text("compiled")
    (tmp_path / "same/build").mkdir()
    (tmp_path / "same/build/stale.py").write_text("of an earlier version")
    digests = {name: build._digest(tmp_path / name) for name in ("one", "same", "other")}
    assert digests["one"] == digests["same"] != digests["other"]
    build._copy(tmp_path / "same", tmp_path / "copy")
    copied = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*.*"))
    assert copied == ["picloud/module.py", "setup.cfg"]
