"""What the decoder of hostile bytes makes of single messages: each legal one typed, each illegal one refused."""

import pytest

from picloud.executor.breaches import BadAnswer, BadFrame
from picloud.executor.frames import Decoder
from picloud.executor.said import Accepted, Answered, Compiled, Died, Failed, Log
from picloud.model import Level, Limits
from sandbox import protocol
from sandbox.protocol import pack

LIMITS = Limits(response_bytes=1_000_000, log_bytes=1_000)
PIECE = b"R\1" + bytes(protocol.CHUNK_BYTES_MAX)


def decoder() -> Decoder:
    """One that has heard ACCEPTED."""
    fresh = Decoder(LIMITS)
    assert fresh.feed(b"A\0") == Accepted()
    return fresh


def fed(tag: bytes, payload: bytes) -> object:
    """What the last packet of one message gives."""
    reader, last = decoder(), None
    for packet in protocol.frames(tag, payload):
        assert last is None
        last = reader.feed(packet)
    return last


def answer(
    status: bytes = b"200", headers: tuple[bytes, ...] = (), body: bytes = b"", kind: bytes = protocol.RESPONSE
) -> bytes:
    return pack(kind, status, pack(*headers), body, b"12", b"34")


def test_an_answer_of_many_packets_comes_out_whole() -> None:
    body = bytes(range(256)) * 1_000

    assert fed(b"R", answer(b"201", (b"X-A", b" b "), body)) == Answered(True, True, 201, (("x-a", "b"),), body, 12, 34)


def test_an_answer_by_error_is_not_committed() -> None:
    message = fed(b"R", answer(kind=protocol.ANSWER))

    assert isinstance(message, Answered)
    assert (message.committed, message.retry) == (False, True)


def test_an_answer_may_say_that_another_try_is_of_no_use() -> None:
    message = fed(b"R", answer(kind=protocol.FINAL_ANSWER))

    assert isinstance(message, Answered)
    assert (message.committed, message.retry) == (False, False)


def test_a_compilation_that_found_nothing() -> None:
    assert fed(b"R", answer(kind=protocol.COMPILED)) == Compiled()


def test_a_failure() -> None:
    payload = pack(protocol.SCRIPT_ERROR, b"main.lua:3: oh", b"stack", b"main.lua", b"3", b"5", b"6")

    assert fed(b"F", payload) == Failed(protocol.SCRIPT_ERROR, "main.lua:3: oh", "stack", "main.lua", 3, 5, 6)


def test_last_words_may_come_at_any_time() -> None:
    words = b"D\0" + pack(b"9", b"0", b"1", b"2")
    reader = decoder()
    assert reader.feed(PIECE) is None

    assert reader.feed(words) == Died(9, 0, 1, 2)
    assert Decoder(LIMITS).feed(words) == Died(9, 0, 1, 2)


def test_a_line_of_text_that_is_no_utf8_keeps_the_rest() -> None:
    replaced = "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"

    assert fed(b"L", pack(b"warn", b"a\xff\0b", b"")) == Log(Level.WARN, replaced, "")


@pytest.mark.parametrize("fields", [b"[1]", b"1", b"{", b"null", b"{1:2}", b'{"a":1} x', b"\xff"])
def test_fields_that_are_no_json_object_join_the_message(fields: bytes) -> None:
    line = fed(b"L", pack(b"info", b"m", fields))

    assert isinstance(line, Log)
    assert line.fields == ""
    assert line.message.startswith("m ")


def test_fields_that_are_a_json_object_stay_as_they_are() -> None:
    assert fed(b"L", pack(b"info", b"m", b'{"a":[1,{}]}')) == Log(Level.INFO, "m", '{"a":[1,{}]}')


BREACHES: dict[str, list[bytes]] = {
    "empty": [b""],
    "no more-byte": [b"R"],
    "a strange more-byte": [b"R\2"],
    "an unknown tag": [b"X\0"],
    "a caller's tag": [b"Q\0"],
    "accepted twice": [b"A\0"],
    "too long a packet": [b"R\0" + bytes(protocol.CHUNK_BYTES_MAX + 1)],
    "a message inside another": [PIECE, b"L\0" + pack(b"info", b"", b"")],
    "a length outside": [b"R\0\xff\xff\xff\xff"],
    "a length cut short": [b"R\0\1\0"],
    "too few fields": [b"R\0" + pack(b"response")],
    "too many fields": [b"R\0" + answer() + pack(b"")],
    "an unknown kind": [b"R\0" + answer(kind=b"x")],
    "a status that is no number": [b"R\0" + answer(b"2e2")],
    "a negative number": [b"R\0" + answer(b"-200")],
    "a huge number": [b"R\0" + answer(b"2" * 5_000)],
    "an empty number": [b"R\0" + answer(b"")],
    "digits of another script": [b"R\0" + answer("２００".encode())],
    "an unknown level": [b"L\0" + pack(b"fatal", b"", b"")],
    "an unknown failure": [b"F\0" + pack(b"x", b"", b"", b"", b"0", b"0", b"0")],
    "last words with a word": [b"D\0" + pack(b"x", b"0", b"0", b"0")],
}


@pytest.mark.parametrize("packets", BREACHES.values(), ids=BREACHES)
def test_a_breach_is_one_kind_of_error(packets: list[bytes]) -> None:
    reader = decoder()
    for packet in packets[:-1]:
        reader.feed(packet)

    with pytest.raises(BadFrame) as caught:
        reader.feed(packets[-1])
    assert not isinstance(caught.value, BadAnswer)


WRONG_ANSWERS = {
    "status 100": answer(b"100"),
    "status 199": answer(b"199"),
    "status 600": answer(b"600"),
    "a name with a space": answer(headers=(b"a b", b"")),
    "an empty name": answer(headers=(b"", b"")),
    "a name with a colon": answer(headers=(b"a:", b"")),
    "a name beyond ASCII": answer(headers=(b"\xe9", b"")),
    "CR LF": answer(headers=(b"a", b"b\r\nset-cookie: c")),
    "NUL": answer(headers=(b"a", b"b\0")),
    "DEL": answer(headers=(b"a", b"b\x7f")),
    "Transfer-Encoding": answer(headers=(b"Transfer-Encoding", b"chunked")),
    "Connection": answer(headers=(b"CONNECTION", b"close")),
    "Proxy-Authenticate": answer(headers=(b"proxy-authenticate", b"x")),
    "half a header": answer(headers=(b"a",)),
    "too many": answer(headers=(b"a", b"b") * 101),
    "too long": answer(headers=(b"a", b"b" * 33_000)),
    "a body over the limit": answer(body=bytes(1_000_001)),
}


@pytest.mark.parametrize("payload", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_an_answer_that_is_no_http_is_told_from_a_breach(payload: bytes) -> None:
    with pytest.raises(BadAnswer):
        fed(b"R", payload)


def test_a_content_length_of_the_scripts_is_dropped() -> None:
    message = fed(b"R", answer(headers=(b"Content-Length", b"99", b"a", b"b")))

    assert isinstance(message, Answered)
    assert message.headers == (("a", "b"),)
