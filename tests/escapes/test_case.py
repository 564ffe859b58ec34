"""The grammar of a script's head: what it says is what is meant, and what it does not know is refused."""

from pathlib import Path

import pytest

from tests.escapes.case import BadHead, Check, Expectation, Sent, corpus, parse


def test_one_line_is_enough() -> None:
    case = parse(7, "x", b"-- expect: memory-limit\nreturn 1\n")

    assert case.expected == (Expectation("memory-limit"),)
    assert (case.limits, case.sent, case.again) == ({}, Sent(), "")
    assert case.source == b"-- expect: memory-limit\nreturn 1\n"


def test_checks_are_wholes_and_parts() -> None:
    line = rb'-- expect: 200 body="a \"b\" \u00ff" detail~"c" header.x-a="d"'
    checks = (Check("body", True, 'a "b" \xff'), Check("detail", False, "c"), Check("header.x-a", True, "d"))

    assert parse(1, "x", line).expected == (Expectation("200", checks),)


def test_two_ends_need_a_reason() -> None:
    both = parse(1, "x", b'-- expect: cpu-limit detail~"CPU" or timeout\n-- because: the kernel decides\n')

    assert both.expected == (Expectation("cpu-limit", (Check("detail", False, "CPU"),)), Expectation("timeout"))
    with pytest.raises(BadHead, match="because"):
        parse(1, "x", b"-- expect: cpu-limit or timeout\n")


def test_a_bundle_has_files_beside_the_script() -> None:
    case = parse(1, "x", rb"-- expect: ok" + b"\n" + rb'-- files: "a/b.lua"="return \"x\"" "c"=""')

    assert case.files == {"a/b.lua": 'return "x"', "c": ""}


def test_a_case_may_want_the_probe() -> None:
    assert parse(1, "x", b"-- expect: ok\n-- binding: probe\n").binding == "probe"
    assert parse(1, "x", b"-- expect: ok\n").binding == ""


def test_limits_and_request() -> None:
    request = b'-- request: method="POST" header.X-A="b c" target="/?q" body="\xe9"\n'
    case = parse(1, "x", b"-- expect: ok\n-- limits: wall_ms=5 log_bytes=7\n" + request)

    assert case.limits == {"wall_ms": 5, "log_bytes": 7}
    assert case.sent == Sent("POST", "/?q", {"X-A": "b c"}, b"\xe9")
    assert parse(1, "x", b"-- expect: ok\n-- request: body_bytes=3\n").sent.body == b"xxx"


@pytest.mark.parametrize(
    ("how", "uploaded"),
    [(b"rest", b"ab\n"), (b"repeat 3", b"ababab"), (b"hex", b"\xab")],
    ids=["rest", "repeat", "hex"],
)
def test_what_is_uploaded_need_not_be_the_file(how: bytes, uploaded: bytes) -> None:
    assert parse(1, "x", b"-- expect: ok\n-- upload: " + how + b"\nab\n").source == uploaded


@pytest.mark.parametrize(
    "head",
    [
        b"return 1",
        b"-- limits: wall_ms=1\n-- expect: ok",
        b"-- expect: crash",
        b"-- expect: 199x",
        b"-- expect: 200 body=x",
        b'-- expect: 200 colour="x"',
        b"-- expect: 200 and more",
        b"-- expect: ok\n-- expect: ok",
        b"-- expect: ok\n-- except: ok",
        b"-- expect: ok\n-- limits: walls_ms=1",
        b"-- expect: ok\n-- limits: wall_ms=soon",
        b"-- expect: ok\n-- request: verb=x",
        b"-- expect: ok\n-- again: maybe",
        b"-- expect: ok\n-- files: a.lua=x",
        b"-- expect: ok\n-- upload: twice",
        b"-- expect: ok\n-- binding: kv",
        b"-- expect: ok\n-- because: I say so",
    ],
)
def test_a_head_that_is_not_understood_is_refused(head: bytes) -> None:
    with pytest.raises(BadHead):
        parse(1, "x", head)


def test_a_folder_without_scripts_or_with_a_number_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadHead, match="no scripts"):
        corpus(tmp_path)
    (tmp_path / "001_a.lua").write_text("-- expect: ok\n")
    (tmp_path / "001_b.lua").write_text("-- expect: ok\n")
    with pytest.raises(BadHead, match="number 001"):
        corpus(tmp_path)
    (tmp_path / "1.lua").write_text("-- expect: ok\n")
    with pytest.raises(BadHead, match=r"NNN_name\.lua"):
        corpus(tmp_path)
