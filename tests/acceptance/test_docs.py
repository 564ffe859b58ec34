"""The documentation is true: its commands run, its Lua does what it says, its links lead somewhere."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from picloud.manager import manifest
from picloud.manager.settings import SettingsRules
from picloud.model import DEFAULT_POLICY, Settings
from picloud.settings import load
from sandbox.lua import Engine
from tests.documents import DOCUMENTS, Block, blocks, every_block
from tests.fixtures_postgres import execute
from tests.lua_documents import actual_values, exchanges, is_script, is_stateful, perform, promised_values
from tests.running import ROOT, running
from tests.sandbox.lua_support import CallHost, refuse
from tests.shell_documents import Reader, commands
from tests.stateful import Stateful, without_database

SECRETS = {"MAIL_KEY": "a key"}
GRANTED = Settings(secrets=tuple(SECRETS))
OTHERS = {"mail": Settings()}
LANGUAGES = {"sh", "lua", "toml", "json", "yaml", "html", "console", "text", ""}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

places = lambda block: block.place if isinstance(block, Block) else None  # noqa: E731


def files_of(document: Path) -> dict[bytes, bytes]:
    """The files that blocks of a document are."""
    found = [block for block in blocks(document, "lua", "html") if block.file not in (None, "main.lua")]
    return {str(block.file).encode(): block.text.encode() for block in found}


def make_script(database: str) -> None:
    """The row of the script that `Stateful` runs: its schedules go with it."""
    execute(database, "INSERT INTO script_names VALUES ('test', 1) ON CONFLICT DO NOTHING")
    execute(
        database,
        "WITH made AS (INSERT INTO scripts (name, active_version) VALUES ('test', 1)"
        "   ON CONFLICT DO NOTHING RETURNING id)"
        " INSERT INTO versions (script_id, version, sha256, bytes, created_by) SELECT id, 1, '', 0, '' FROM made",
    )


@contextmanager
def hosting(block: Block, request: pytest.FixtureRequest) -> Iterator[CallHost]:
    """What does a block's host calls: one that needs a database has one of its own for all its exchanges."""
    if not is_stateful(block):
        yield without_database() if "zone" in block.text else refuse
        return
    database = request.getfixturevalue("database")
    make_script(database)
    with (
        closing(Stateful(database, settings=GRANTED, secret_values=SECRETS, others=OTHERS)) as stateful,
        stateful.committing() as calls,
    ):
        yield calls


@pytest.mark.parametrize("block", every_block(), ids=places)
def test_a_block_says_in_which_language_it_is(block: Block) -> None:
    assert block.language in LANGUAGES


@pytest.mark.parametrize("block", [it for it in every_block("lua") if is_script(it)], ids=places)
def test_a_script_compiles(block: Block) -> None:
    assert Engine(emit_log=lambda *_: None, call_host=lambda *_: []).compile([b"main.lua", block.text.encode()]) is None


@pytest.mark.parametrize("block", [it for it in every_block("lua") if is_script(it) and it.file in (None, "main.lua")],
                         ids=places)  # fmt: skip
def test_a_script_answers_what_its_comments_say(block: Block, request: pytest.FixtureRequest) -> None:
    asked = list(exchanges(block))
    assert asked, "say with `-- GET /fn/x → 200 text` what it answers"
    for exchange in asked:
        with hosting(block, request) as host:
            status, text = perform(block, exchange, files_of(block.document), host)
        assert (status, exchange.text in text) == (exchange.status, True), (exchange, status, text)


@pytest.mark.parametrize("block", [it for it in every_block("lua") if not is_script(it)], ids=places)
def test_lua_expressions_have_the_values_beside_them(block: Block, request: pytest.FixtureRequest) -> None:
    with hosting(block, request) as host:
        assert actual_values(block, host) == promised_values(block)


def test_json_is_json() -> None:
    for block in every_block("json"):
        assert json.loads(block.text) is not None, block.place


def test_toml_is_what_it_says_it_is(tmp_path: Path) -> None:
    for block in every_block("toml"):
        file = tmp_path / "picloud.toml"
        file.write_text(block.text, encoding="utf-8")
        if "server" in tomllib.loads(block.text):
            load({"PICLOUD_CONFIG": str(file)})
        else:
            assert block.file == "picloud.toml", f"{block.place}: say on the first line which file this is"
            manifest.read({"picloud.toml": block.text.encode()}, SettingsRules(DEFAULT_POLICY), script="documented")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in LINK.findall(re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(document: Path) -> set[str]:
    """What GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def words_of_make_run() -> list[str]:
    """What `make run` says behind `picloud up`."""
    (line,) = re.findall(r"^\t@exec .*/picloud up (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return shlex.split(line)


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if blocks(path, "sh")], ids=lambda path: path.name)
def test_commands_do_what_the_document_says(document: Path, tmp_path: Path) -> None:
    typed = [command for block in blocks(document, "sh") for command in commands(block)]
    with running(tmp_path / "data", *words_of_make_run()) as picloud:
        outputs = Reader(picloud, tmp_path / "reader").type(typed)
    for command, output in zip(typed, outputs, strict=True):
        for text in command.expected:
            assert text in output, f"{command.place}: {command.text}{output}"


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"run", "test"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:.*## ", makefile, re.M), target
