"""docker/Dockerfile without building it: `make test-image` does that. What it says of this checkout is so."""

import json
import re
from pathlib import Path

import pytest

from picloud import __version__
from tests.documents import section
from tests.running import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
CONTEXT = ROOT / ".dockerignore"
STEPS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M)).splitlines()
    if line.strip()
]
LAST = STEPS[max(at for at, (word, _) in enumerate(STEPS) if word == "FROM") :]


def given(word: str, steps: list[tuple[str, ...]] = STEPS) -> list[str]:
    return [text for it, text in steps if it == word]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for text in given("ENV", LAST) for pair in text.split())


def kept() -> list[str]:
    """What of the checkout an engine gets to see."""
    return [line[1:] for line in CONTEXT.read_text().splitlines() if line.startswith("!")]


def test_every_instruction_is_one() -> None:
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL",
             "USER", "VOLUME", "WORKDIR"}  # fmt: skip
    assert {word for word, _ in STEPS} <= known
    for word in ("CMD", "ENTRYPOINT"):
        assert isinstance(json.loads(given(word)[0]), list), "a shell between would not pass signals on"
    (check,) = given("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[0] == "curl"


def test_its_base_is_pinned() -> None:
    bases = [text for text in given("ARG") if text.startswith("BASE=")]
    assert re.fullmatch(r"BASE=docker\.io/library/debian:12\.\d+-slim", bases[0])
    assert {text.split()[0] for text in given("FROM")} == {"${BASE}"}


def test_it_installs_what_make_installs() -> None:
    (packages,) = re.findall(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    build, run = (text for text in given("RUN") if "apt-get install" in text)
    assert {*packages.split()} <= {*build.split()}
    assert "config/constraints.txt" in given("RUN")[1]
    assert {"python3", "libcap2", "curl"} <= {*run.split()}, "what PiCloud and its health check load"


def test_it_runs_as_an_ordinary_user_who_owns_the_volume() -> None:
    (user,) = given("USER")
    assert f"useradd --uid 10001 --user-group --no-create-home --home-dir {environment()['PICLOUD_DATA']}" in str(LAST)
    assert (user, user in str(given("RUN", LAST))) == ("picloud", True)
    assert given("VOLUME", LAST) == [environment()["PICLOUD_DATA"]]
    assert LAST.index(("USER", user)) < LAST.index(("ENTRYPOINT", given("ENTRYPOINT")[0]))


def test_its_port_is_the_one_that_it_listens_on() -> None:
    (port,) = given("EXPOSE")
    assert environment()["PICLOUD_BIND"] == f"0.0.0.0:{port}"
    assert f"http://127.0.0.1:{port}/readyz" in given("HEALTHCHECK")[0]


def test_its_label_is_this_version() -> None:
    assert f"VERSION={__version__}" in given("ARG", LAST)
    (label,) = given("LABEL")
    assert (ROOT / re.findall(r'documentation="([^"]+)"', label)[0]).exists()


def test_no_secret_is_in_a_layer() -> None:
    for word in ("ARG", "ENV", "LABEL"):
        for text in given(word):
            assert not re.search(r"secret|token|password|key", text, re.I), text
    assert given("COPY", LAST) == ["--from=build /opt/picloud /opt/picloud"]


def test_an_engine_sees_what_it_builds_of_and_nothing_else() -> None:
    assert CONTEXT.read_text().splitlines()[1] == "*"
    assert [path for path in kept() if not (ROOT / path).exists()] == []
    assert {"picloud", "sandbox", "config", "setup.cfg", "pyproject.toml", "README.md"} <= {*kept()}
    assert not {"var", ".git", "tests", ".venv"} & {*kept()}


@pytest.mark.parametrize("source", [text.split()[0] for text in given("COPY") if not text.startswith("--")])
def test_what_is_copied_is_there(source: str) -> None:
    assert (ROOT / source).exists()


def test_the_docs_name_no_required_layer_as_missing() -> None:
    layers = dict(re.findall(r"^\| `([a-z-]+)` \| (yes|no) \|", (ROOT / "docs" / "security.md").read_text(), re.M))
    lacked = re.findall(
        r"^\| `([a-z-]+)` \|", section(ROOT / "docs" / "container.md", "## What it lacks of the protections"), re.M
    )
    assert lacked
    assert {layers[name] for name in lacked} == {"no"}


def test_what_the_docs_type_is_there() -> None:
    text = (ROOT / "docs" / "container.md").read_text()
    for path in re.findall(r"(?:-f |< )((?:docker|config)/\S+)", text):
        assert Path(ROOT / path).exists(), path
