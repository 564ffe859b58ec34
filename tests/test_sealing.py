"""Values sealed with the key of a file: who may read that, what opens, and how it changes."""

import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from picloud.errors import ConfigurationError
from picloud.sealing import CannotOpen, KeyFile

VALUE = "a value: ü, \0 and a \n line"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret.key"


@pytest.fixture
def keys(path: Path) -> KeyFile:
    made = KeyFile(path)
    made.create()
    return made


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_what_is_sealed_opens_and_does_not_show(keys: KeyFile) -> None:
    sealed = keys.seal("NAME", VALUE)
    assert keys.open("NAME", sealed) == VALUE
    assert "value" not in sealed
    assert keys.seal("NAME", VALUE) != sealed  # nobody can tell that it is the same


def test_a_sealed_value_opens_under_its_own_name_alone(keys: KeyFile) -> None:
    with pytest.raises(CannotOpen):
        keys.open("OTHER", keys.seal("NAME", VALUE))


def flipped(sealed: str, at: int) -> str:
    return sealed[:at] + ("B" if sealed[at] == "A" else "A") + sealed[at + 1 :]


@pytest.mark.parametrize(
    "spoil", [lambda it: it[:-4], lambda it: flipped(it, 1), lambda it: flipped(it, 60), lambda _: "", lambda _: "ü"]
)
def test_what_was_changed_does_not_open(keys: KeyFile, spoil: Callable[[str], str]) -> None:
    with pytest.raises(CannotOpen):
        keys.open("NAME", spoil(keys.seal("NAME", VALUE)))


def test_another_file_opens_nothing(keys: KeyFile, tmp_path: Path) -> None:
    other = KeyFile(tmp_path / "other")
    other.create()
    with pytest.raises(CannotOpen) as caught:
        other.open("NAME", keys.seal("NAME", VALUE))
    assert caught.value.__context__ is None or "value" not in repr(caught.value.__context__)


def test_the_file_is_made_for_its_owner_alone_and_once(keys: KeyFile, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    keys.create()
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610, 0o441])
def test_a_file_that_others_can_use_is_refused_with_what_to_do(keys: KeyFile, path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=re.escape(f"(mode {mode:04o}): chmod 600 '{path}'")):
        KeyFile(path).check()


@pytest.mark.root
def test_a_credential_as_systemd_makes_it_is_good(keys: KeyFile, path: Path) -> None:
    path.chmod(0o440)
    KeyFile(path).check()
    os.chown(path, 0, 1)
    with pytest.raises(ConfigurationError):
        KeyFile(path).check()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"no key", b"A" * 44, Fernet.generate_key() + b"\nno key\n", b"\xff" * 50]
)
def test_a_file_without_keys_is_refused_without_being_shown(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        KeyFile(path).seal("NAME", VALUE)
    assert str(caught.value) == f"{path} holds no keys: one a line, 32 bytes in base64url each"


def test_a_file_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{re.escape(str(path))} is missing"):
        KeyFile(path).open("NAME", "x")


def test_a_new_key_seals_and_the_old_one_opens_until_it_is_dropped(keys: KeyFile, path: Path) -> None:
    before, (first,) = keys.seal("NAME", VALUE), lines(path)
    with keys.locked():
        old = keys.add()
    assert lines(path)[1:] == [first]
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.open("NAME", before) == VALUE
    after = keys.reseal("NAME", before)
    with keys.locked():
        keys.drop(old)
    assert keys.open("NAME", after) == VALUE
    with pytest.raises(CannotOpen):
        KeyFile(path).open("NAME", before)


def test_who_has_read_the_file_learns_of_new_keys(keys: KeyFile, path: Path) -> None:
    reader = KeyFile(path)
    assert reader.open("NAME", keys.seal("NAME", VALUE)) == VALUE
    with keys.locked():
        keys.drop(keys.add())
    assert reader.open("NAME", keys.seal("NAME", VALUE)) == VALUE
    assert keys.open("NAME", reader.seal("NAME", VALUE)) == VALUE


def test_what_a_crash_left_behind_is_no_hindrance(keys: KeyFile, path: Path) -> None:
    path.with_name("secret.key.new").write_bytes(b"half a k")
    sealed = keys.seal("NAME", VALUE)
    with keys.locked():
        keys.add()
    assert keys.open("NAME", sealed) == VALUE
    assert [it.name for it in path.parent.iterdir()] == ["secret.key"]


@pytest.mark.root
def test_who_rotates_as_root_leaves_the_file_to_its_owner(keys: KeyFile, path: Path) -> None:
    os.chown(path, 1234, 1235)
    with keys.locked():
        keys.add()
    assert (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) == (1234, 1235, 0o600)


def test_keys_are_nowhere_to_be_seen(keys: KeyFile, path: Path) -> None:
    keys.check()
    (key,) = lines(path)
    assert all(key not in repr(it) for it in (keys, vars(keys)))


def test_a_long_value_seals_and_opens(keys: KeyFile) -> None:
    assert keys.open("NAME", keys.seal("NAME", "x" * 65536)) == "x" * 65536


def test_each_key_is_a_new_one(keys: KeyFile, path: Path) -> None:
    for _ in range(3):
        with keys.locked():
            keys.add()
    assert all(one != other for one, other in pairwise(sorted(lines(path))))


def test_a_fingerprint_tells_keys_apart_and_holds_none(tmp_path: Path) -> None:
    first, second = KeyFile(tmp_path / "first"), KeyFile(tmp_path / "second")
    first.create()
    second.create()
    (one,) = first.fingerprints()
    assert first.fingerprints() == [one] != second.fingerprints()
    assert len(one) == 16
    assert one not in (tmp_path / "first").read_text()
    with first.locked():
        first.add()
    new, old = first.fingerprints()
    assert (new == one, old == one) == (False, True)
