"""Lua of the documentation, run: what a block says of itself is what happens.

`-- GET /fn/x → 200 text` in a script is a request, its status and a part of its answer; with a body:
`-- POST /fn/x 'body' → …`. `EXPRESSION --> text` in other Lua is a value, or `error: …`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.lua import Result
from tests.documents import Block
from tests.sandbox.lua_support import CallHost, Head, LuaRequest, answer, refuse, run

_REQUEST = re.compile(r"^-- ([A-Z]+) (/\S*)(?: '(.*)')? → (\d+) ?(.*)$", re.MULTILINE)
_VALUE = re.compile(r"^(.*\S)\s+--> (.*)$")
_LOCAL = re.compile(r"^local (\w+) = ")
_STATUS_OF = {b"script-error": 500, b"invalid-request": 400, b"bad-response": 502}

_PREAMBLE = """local seen__ = json.array{} local function see__(get) local got = table.pack(pcall(get)) local texts = {}
for at = 2, got.n do local it = got[at] texts[at - 1] = type(it) == "table" and json.encode(it) or tostring(it) end
seen__[#seen__ + 1] = (got[1] and "" or "error: ") .. table.concat(texts, ", "):gsub("^main%.lua:%d+: ", "") end
""".replace("\n", " ")


@dataclass(frozen=True)
class Exchange:
    """A request that a script's comment shows, and what it is answered."""

    method: str
    target: str
    body: str
    status: int
    text: str


def is_script(block: Block) -> bool:
    """Whether it is a whole script and not a few lines of one."""
    return re.search(r"^return ", block.text, re.MULTILINE) is not None


def exchanges(block: Block) -> Iterator[Exchange]:
    """What the script's comments promise."""
    for method, target, body, status, text in _REQUEST.findall(block.text):
        yield Exchange(method, target, body, int(status), text)


def is_stateful(block: Block) -> bool:
    """Whether it needs host calls, and so a database."""
    return re.search(r"\b(kv|secrets|jobs|events|schedule)\.|\bafter\(", block.text) is not None


def perform(block: Block, exchange: Exchange, files: dict[bytes, bytes], host: CallHost = refuse) -> tuple[int, str]:
    """Ask the script → status, and its body or what went wrong."""
    path, _, query = exchange.target.partition("?")
    rest = path.partition("/fn/")[2].partition("/")[2]
    kind = b"application/json" if exchange.body.startswith("{") else b"application/x-www-form-urlencoded"
    request = LuaRequest(
        method=exchange.method.encode(), path=path.encode(), query=query.encode(), body=exchange.body.encode(),
        params={b"rest": rest.encode()} if rest else {}, headers={b"content-type": kind} if exchange.body else {},
    )  # fmt: skip
    sent: list[Head | bytes] = []
    got = run(block.text, request=request, files=files, host=host, sent=sent)
    if isinstance(got, Result) and sent:
        return int(sent[0][0]), b"".join(it for it in sent if isinstance(it, bytes)).decode()
    if isinstance(got, Result):
        return got.status, got.body.decode()
    return _STATUS_OF[got.kind], got.message.decode()


def promised_values(block: Block) -> list[str]:
    """What its expressions are said to be."""
    return [found[2] for line in block.text.splitlines() if (found := _VALUE.match(line))]


def actual_values(block: Block, host: CallHost = refuse) -> list[str]:
    """What its expressions are."""
    lines = [_looked_at(line) for line in block.text.splitlines()]
    result = answer(_PREAMBLE + "\n".join(lines) + "\nreturn { body = table.concat(seen__, '\\0') }", host=host)
    return result.body.decode().split("\0") if result.body else []


def _looked_at(line: str) -> str:
    found = _VALUE.match(line)
    if not found:
        return line
    code, name = found[1], _LOCAL.match(found[1])
    return f"{code} see__(function() return {name[1]} end)" if name else f"see__(function() return {code} end)"
