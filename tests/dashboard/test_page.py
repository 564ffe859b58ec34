"""The page: hostile words stay words, what is shown is right, and it can be read by everybody."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from picloud.auth import Principal, Scope
from picloud.dashboard.page import Pages, Row
from picloud.model import Invocation, Outcome, Script, Settings, Trigger, new_id

NOW = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
READER = Principal(1, "reader", frozenset({Scope.READ}))
HOSTILE = """</style><script>alert("1")</script>'"><img src=x onerror=alert(1)>&amp;"""
VOID = {"meta", "input"}


def script(name: str = "hello", version: int = 3, age: timedelta = timedelta(minutes=5)) -> Script:
    return Script(name, version, Settings(), NOW - age, NOW - age)


def run(outcome: Outcome = Outcome.OK, status: int = 200, error: str = "", run_ms: float = 12.4) -> Invocation:
    started = NOW - timedelta(hours=2)
    return Invocation(new_id(), "hello", 3, Trigger.HTTP, outcome, status, started, 0, run_ms, 0, 0, error)


def overview(*rows: Row, principal: Principal = READER, more: bool = False, origin: str = "http://pi:8080") -> str:
    return Pages().overview(principal, rows, more=more, origin=origin, now=NOW)


class Seen(HTMLParser):
    """What a browser makes of a page: elements with attributes, and text; fails if a tag is left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def pages(words: str) -> list[str]:
    """Every kind of page, with these words in every place that takes some."""
    who, failed = Principal(1, words, frozenset()), run(Outcome.TIMEOUT, 504, words)
    return [
        Pages().sign_in(),
        Pages().sign_in(words),
        Pages().notice(words, words),
        Pages().notice("x", "y", who),
        overview(),
        overview(Row(script(words), failed), Row(script("b"), None), principal=who, origin=words, more=True),
    ]


PAGES = pages(HOSTILE)


@pytest.mark.parametrize(("hostile", "harmless"), list(zip(PAGES, pages("word"), strict=True)))
def test_hostile_words_stay_words(hostile: str, harmless: str) -> None:
    assert [(tag, list(attributes)) for tag, attributes in Seen(hostile).elements] == [
        (tag, list(attributes)) for tag, attributes in Seen(harmless).elements
    ]
    assert "<script" not in hostile
    assert hostile.count("</style>") == 1


def test_what_was_hostile_is_shown_as_it_was() -> None:
    seen = Seen(overview(Row(script(), run(Outcome.SCRIPT_ERROR, 500, HOSTILE))))
    assert " ".join(HOSTILE.split()) in seen.text


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_or_run(page: str) -> None:
    seen = Seen(page)
    assert not {"script", "link", "img", "iframe", "base", "object"} & {tag for tag, _ in seen.elements}
    for _, attributes in seen.elements:
        assert not {"src", "style", "srcset"} & set(attributes)
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize("page", PAGES)
def test_everybody_can_use_it(page: str) -> None:
    seen = Seen(page)
    assert seen.named("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in seen.named("meta")
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for reference in ("for", "aria-labelledby", "aria-describedby"):
        assert {attributes[reference] for _, attributes in seen.elements if reference in attributes} <= set(ids)
    labelled = {attributes["for"] for attributes in seen.named("label")}
    assert {attributes["id"] for attributes in seen.named("input")} == labelled
    assert len(seen.named("main")) == len(seen.named("h1")) == 1
    headings = [int(tag[1]) for tag, _ in seen.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def test_a_script_is_shown_with_how_it_last_ran() -> None:
    seen = Seen(overview(Row(script(), run())))
    assert {"href": "/fn/hello"} in seen.named("a")
    assert "hello /fn/hello" in seen.text
    assert "3 5 minutes ago ok 200 2 hours ago , 12 ms" in seen.text
    assert [it["title"] for it in seen.named("time")] == ["2031-02-03 04:00:06 UTC", "2031-02-03 02:05:06 UTC"]


def test_what_failed_says_so_in_words_not_in_colour_alone() -> None:
    page = overview(Row(script(), run(Outcome.TIMEOUT, 504, "exceeded 10000 ms", 10_000)))
    assert "timeout 504" in Seen(page).text
    assert "10.0 s exceeded 10000 ms" in Seen(page).text
    assert 'class="outcome bad"' in page


def test_a_script_that_answers_with_a_fault_of_its_own_is_no_success() -> None:
    assert 'class="outcome bad"' in overview(Row(script(), run(status=503)))
    assert 'class="outcome good"' in overview(Row(script(), run(status=302)))
    assert 'class="outcome"' in overview(Row(script(), run(status=404)))  # neither: it may be what was meant


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(seconds=-5), "just now"),  # clocks differ
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=47), "1 day ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_times_are_said_as_people_do(age: timedelta, shown: str) -> None:
    assert f">{shown}<" in overview(Row(script(age=age), None))


def test_a_script_that_never_ran_and_scripts_that_are_not_there_are_said() -> None:
    assert "not yet" in Seen(overview(Row(script(), None))).text
    assert "No scripts yet" in Seen(overview()).text
    assert "There are more" in Seen(overview(Row(script(), None), more=True)).text
    assert "There are more" not in Seen(overview(Row(script(), None))).text


def test_the_next_step_can_be_copied() -> None:
    assert "https://pi.example/api/v1/scripts/hello" in Seen(overview(origin="https://pi.example")).text


PAIRS = [
    ("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("accent", "paper"), ("accent", "card"),
    ("on-accent", "accent"), ("good", "card"), ("bad", "card"), ("bad", "paper"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_text_stands_out_in_both_schemes(scheme: int, front: str, back: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    palettes = re.findall(r":root {(.*?)}", Pages().sign_in(), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", palettes[scheme]))
    bright, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in parts]
    return sum(weight * it for weight, it in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
