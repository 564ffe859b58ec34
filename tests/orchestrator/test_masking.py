"""Secrets in what is written of a run: recognised in the spellings that are documented, and masked."""

import json
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.model import Level, LogLine, Outcome, Response, Run
from picloud.orchestrator.masking import MASK, Mask

VALUES = [
    "hunter2!",
    'a "quoted" one\\',
    "two\nlines\t",
    "päss/wörd+?&",
    "1234",
    "x" * 5000,
    "~~~~",
    "a+b/c==",
    "%41%41",
]


def mask_of(*values: str) -> Mask:
    mask = Mask()
    for value in values:
        mask.add(value)
    return mask


def line(message: str, fields: str = "") -> LogLine:
    return LogLine(datetime.now(UTC), Level.INFO, message, fields)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_masked_in_every_spelling_that_is_promised(value: str) -> None:
    raw = value.encode()
    spellings = [
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        urlencode({"": value})[1:],
        b64encode(raw).decode().rstrip("="),
        urlsafe_b64encode(raw).decode().rstrip("="),
    ]
    mask = mask_of(value)
    for spelling in spellings:
        masked = mask.text(f"<{spelling}>")
        assert masked.startswith(f"<{MASK}")
        assert value not in masked
        assert len(masked) <= len(MASK) + 4  # base64 may leave a letter that holds two or four bits


@given(st.text(min_size=4, max_size=30), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_masked_wherever_the_value_stands_in_it(value: str, before: bytes, after: bytes) -> None:
    raw = value.encode(errors="replace")
    value = raw.decode()
    encoded = b64encode(before + raw + after).decode()
    masked = mask_of(value).text(encoded)
    assert MASK in masked
    whole = raw[2:-2]  # what is left beside the mask: at most a part of its first and last letters
    assert len(masked) - len(MASK) <= len(encoded) - (len(whole) * 8) // 6


@given(st.lists(st.text("ab", min_size=4, max_size=6), min_size=1, max_size=3), st.text("ab ", max_size=60))
def test_no_value_is_left_however_they_overlap(values: list[str], text: str) -> None:
    masked = mask_of(*values).text(text)
    assert not [value for value in values if value in masked]
    assert (masked == text) == (not any(value in text for value in values))


def test_what_overlaps_is_masked_as_one() -> None:
    assert mask_of("abab").text("xababab.abab") == f"x{MASK}.{MASK}"
    assert mask_of("secret", "secret-and-more").text("secret-and-more, secret") == f"{MASK}, {MASK}"


@pytest.mark.parametrize("value", ["", "a", "abc", "äb"])
def test_short_values_are_everywhere_and_stay(value: str) -> None:
    assert mask_of(value).text("abcäb") == "abcäb"


def test_a_text_without_a_value_is_as_it_was() -> None:
    assert mask_of("hunter2!").text("hunter2") == "hunter2"
    assert Mask().text("hunter2") == "hunter2"


def test_message_and_fields_of_a_line_are_masked_and_stay_json() -> None:
    fields = json.dumps({"hunter2!": 'say "hunter2!"', "n": [1, "hunter2!"]})
    masked = mask_of("hunter2!").line(line("it is hunter2!", fields))
    assert masked.message == f"it is {MASK}"
    assert json.loads(masked.fields) == {MASK: f'say "{MASK}"', "n": [1, MASK]}


def test_fields_that_are_no_json_any_more_join_the_message() -> None:
    masked = mask_of("1234").line(line("pin", '{"pin":1234}'))
    assert (masked.message, masked.fields) == (f'pin {{"pin":{MASK}}}', "")


def test_what_is_said_of_a_run_is_masked_and_its_answer_is_not() -> None:
    answer = Response(200, (("x", "hunter2!"),), b"hunter2!")
    run = mask_of("hunter2!").run(Run(Outcome.OK, answer, detail="a hunter2!", traceback="b hunter2!"))
    assert (run.detail, run.traceback, run.response) == (f"a {MASK}", f"b {MASK}", answer)


@pytest.mark.parametrize("end", ["", "…"])
def test_a_value_that_a_long_text_was_cut_in_is_masked(end: str) -> None:
    start = "x" * 9_000 + " "
    mask = mask_of("hunter2-hunter2-hunter3")
    for kept in range(4, 23):
        assert mask.text(start + "hunter2-hunter2-hunter3"[:kept] + end).removesuffix(end) == start + MASK
    assert mask.text(start + "hun") == start + "hun"


def test_a_mask_shows_no_value() -> None:
    mask = mask_of("hunter2!")
    assert "hunter2!" not in f"{mask!r} {mask}"
