"""`stream(make)`: what a script may return, what it may write, and what its end is called."""

import pytest

from sandbox.protocol import BAD_RESPONSE, CHUNK_BYTES_MAX, CHUNKS_MAX, ENDED, MEMORY_LIMIT, SCRIPT_ERROR
from tests.sandbox.lua_support import Head, LuaLimits, answer, failure, run

PLAIN = Head(b"200", (b"content-type", b"text/plain; charset=utf-8"))


def streamed(inside: str, **how: object) -> list[Head | bytes]:
    """What a stream sends that comes to its end."""
    sent: list[Head | bytes] = []
    assert answer(f"return stream(function(write) {inside} end)", sent=sent, **how).kind == ENDED
    return sent


def test_what_is_written_is_sent_piece_by_piece_behind_the_head() -> None:
    assert streamed("write('a') write('') write(12) write('\\0')") == [PLAIN, b"a", b"12", b"\0"]


@pytest.mark.parametrize("wrapped", ["{}", "function() return {} end", "{ body = {} }"])
def test_it_is_an_answer_or_its_body(wrapped: str) -> None:
    sent: list[Head | bytes] = []
    answer("return " + wrapped.replace("{}", "stream(function(write) write('x') end)"), sent=sent)
    assert sent == [PLAIN, b"x"]


def test_status_and_headers_are_those_of_the_table_around_it() -> None:
    sent: list[Head | bytes] = []
    answer("return { status = 404, headers = { ['Content-Type'] = 'a/b' }, body = stream(print) }", sent=sent)
    assert sent == [Head(b"404", (b"Content-Type", b"a/b"))]


def test_a_long_text_is_sent_in_frames() -> None:
    sent = streamed(f"write(('x'):rep({2 * CHUNK_BYTES_MAX + 1}))")
    assert [len(piece) for piece in sent[1:]] == [CHUNK_BYTES_MAX, CHUNK_BYTES_MAX, 1]


def test_it_may_be_written_in_a_coroutine() -> None:
    inside = "local each = coroutine.wrap(function() write('a') coroutine.yield() write('b') end) each() each()"
    assert streamed(inside) == [PLAIN, b"a", b"b"]


def test_the_function_runs_only_once_it_is_returned() -> None:
    sent: list[Head | bytes] = []
    assert answer("stream(function(write) write('x') end) return 'plain'", sent=sent).body == b"plain"
    assert sent == []


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("local s = stream('x') return s", SCRIPT_ERROR, "main.lua:1: stream needs a function, not string"),
        ("return stream", SCRIPT_ERROR, "stream needs a function, not table"),
        ("local s = stream(print) s()", SCRIPT_ERROR, "main.lua:1: a stream cannot be called: return it"),
        ("return { list = { stream(print) } }", BAD_RESPONSE, "$.list[1]: a function cannot be JSON"),
        ("error{ body = stream(print) }", BAD_RESPONSE, "the body of error{…} cannot be a stream"),
        ("return { status = 99, body = stream(print) }", BAD_RESPONSE, "status must be from 200 to 599"),
    ],
)
def test_what_is_no_answer_never_begins(script: str, kind: bytes, message: str) -> None:
    sent: list[Head | bytes] = []
    failed = failure(script, sent=sent)
    assert (failed.kind, message in failed.message.decode(), sent) == (kind, True, []), failed.message


@pytest.mark.parametrize(
    ("inside", "kind", "message"),
    [
        ("write({})", SCRIPT_ERROR, "main.lua:1: write needs a string, not table"),
        ("error('late')", SCRIPT_ERROR, "main.lua:1: late"),
        ("error{ status = 400 }", SCRIPT_ERROR, "error{…} came after the answer had begun"),
        ("local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end", MEMORY_LIMIT, "not enough memory"),
    ],
)
def test_what_goes_wrong_after_the_head_is_no_end_of_the_answer(inside: str, kind: bytes, message: str) -> None:
    sent: list[Head | bytes] = []
    failed = failure(f"return stream(function(write) write('a') {inside} end)", sent=sent)
    assert (failed.kind, message in failed.message.decode()) == (kind, True), failed.message
    assert sent == [PLAIN, b"a"]


CAUGHT = "pcall(write, 'b')"


@pytest.mark.parametrize("last", ["write('b')", CAUGHT, f"{CAUGHT} pcall(write, '')", f"{CAUGHT} error('x')"])
def test_what_is_over_the_limit_is_not_sent_and_the_answer_is_not_valid_even_if_that_is_caught(last: str) -> None:
    sent: list[Head | bytes] = []
    script = f"return stream(function(write) write(('a'):rep(1000)) {last} end)"
    failed = failure(script, sent=sent, limits=LuaLimits(response_bytes=1000))
    assert (failed.kind, failed.message) == (BAD_RESPONSE, b"the body has more than the 1000 bytes that are allowed")
    assert sent == [PLAIN, b"a" * 1000]


def test_pieces_are_counted_too() -> None:
    sent: list[Head | bytes] = []
    loop = "for _ = 1, {} do write('x') end"
    assert len(streamed(loop.format(CHUNKS_MAX))) == 1 + CHUNKS_MAX
    failed = failure(f"return stream(function(write) {loop.format(CHUNKS_MAX + 1)} end)", sent=sent)
    assert (failed.kind, failed.message) == (BAD_RESPONSE, b"the body is written in more than 100000 pieces")
    assert len(sent) == 1 + CHUNKS_MAX


def test_what_the_platform_cannot_do_while_it_sends_ends_the_run() -> None:
    def broken(*_: object) -> None:
        raise OSError("nobody is there")

    class Sent(list[Head | bytes]):
        append = broken

    with pytest.raises(OSError, match="nobody is there"):
        run("return stream(function(write) pcall(write, 'x') end)", sent=Sent())
