"""The decoder of hostile bytes: whatever comes, a message or BadFrame, in bounded memory."""

import contextlib
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picloud.executor.breaches import BadAnswer, BadFrame
from picloud.executor.frames import Decoder
from picloud.executor.heads import header_list
from picloud.executor.said import Accepted, Begun, Chunk, Ended, Log
from picloud.model import Limits
from sandbox import protocol

LIMITS = Limits(response_bytes=200_000, log_bytes=1_000)


def accepted() -> Decoder:
    decoder = Decoder(LIMITS)
    assert decoder.feed(protocol.ACCEPTED + b"\0") == Accepted()
    return decoder


def feed_all(decoder: Decoder, packets: Iterable[bytes]) -> None:
    for packet in packets:
        decoder.feed(packet)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_packets_are_messages_or_a_bad_frame(packets: list[bytes]) -> None:
    with contextlib.suppress(BadFrame):
        feed_all(Decoder(LIMITS), packets)


@given(st.sampled_from("ACLRFDSK"), st.lists(st.binary(max_size=40), max_size=8))
def test_any_fields_are_a_message_or_a_bad_frame(tag: str, fields: list[bytes]) -> None:
    with contextlib.suppress(BadFrame):
        accepted().feed(tag.encode() + b"\0" + protocol.pack(*fields))


ANY_TAG = st.sampled_from([bytes([tag]) for tag in b"ACDFKLPRQSX"])
PIECES = st.builds(
    lambda tag, filler: tag + b"\1" + filler * protocol.CHUNK_BYTES_MAX, ANY_TAG, st.binary(min_size=1, max_size=1)
)
TINY_FIELDS = st.builds(
    lambda tag, field, count: tag + b"\0" + protocol.pack(*[field] * count),
    ANY_TAG, st.binary(max_size=3), st.integers(0, 9_000),
)  # fmt: skip
WORDS = [b"info", b"response", b"final-answer", b"final-error", b"200", b"kv.get", b"1"]
MESSAGES = st.builds(
    lambda tag, fields: tag + b"\0" + protocol.pack(*fields),
    ANY_TAG,
    st.lists(st.binary(max_size=40) | st.sampled_from(WORDS), max_size=8),
)  # fmt: skip
TOGETHER_BYTES = 12 * 1024 * 1024
"""What any conversation may take at once, beside what it was sent: four times the largest message that LIMITS allow."""


@settings(deadline=None)
@given(st.lists(st.one_of(PIECES, TINY_FIELDS, MESSAGES, st.binary(max_size=300)), max_size=60))
def test_whatever_comes_in_whatever_order_takes_bounded_memory(packets: list[bytes]) -> None:
    assert peak_bytes(accepted(), packets) < TOGETHER_BYTES


def peak_bytes(decoder: Decoder, packets: list[bytes]) -> int:
    """The most memory that was taken at once while it was fed, up to its BadFrame if there is one."""
    tracemalloc.start()
    try:
        with contextlib.suppress(BadFrame):
            feed_all(decoder, packets)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


ANSWER_BYTES = LIMITS.response_bytes + 60_000
GREEDY = {  # what is made to take many times its bytes → packets, the bytes of the largest of its messages
    "an answer without end": ([protocol.RESULT + b"\1" + bytes(protocol.CHUNK_BYTES_MAX)] * 1_000, ANSWER_BYTES),
    "an answer of tiny fields": (
        protocol.frames(protocol.RESULT, protocol.pack(*[b"ab"] * (ANSWER_BYTES // 6))), ANSWER_BYTES,
    ),
    "headers of tiny fields": (
        protocol.frames(
            protocol.RESULT,
            protocol.pack(b"response", b"200", protocol.pack(*[b"ab"] * (ANSWER_BYTES // 6)), b"", b"1", b"1"),
        ),
        ANSWER_BYTES,
    ),
    "a line of tiny fields": (protocol.frames(protocol.LOG, protocol.pack(*[b"ab"] * 10_000)), 60_000),
    "a line of many keys": (
        protocol.frames(
            protocol.LOG, protocol.pack(b"info", b"", b"{" + b",".join(b'"%x":1' % key for key in range(6_000)) + b"}")
        ),
        60_000,
    ),
    "lines without end": ([protocol.LOG + b"\0" + protocol.pack(b"info", b"x" * 50, b"{}")] * 10_000, 1_000),
    "a failure without end": ([protocol.FAILURE + b"\1" + bytes(protocol.CHUNK_BYTES_MAX)] * 1_000, 65_536),
    "a call without end": (
        [protocol.CALL + b"\1" + bytes(protocol.CHUNK_BYTES_MAX)] * 1_000, protocol.CALL_BYTES_MAX,
    ),
    "a call of tiny fields": (
        protocol.frames(protocol.CALL, protocol.pack(*[b"ab"] * (protocol.CALL_BYTES_MAX // 6))),
        protocol.CALL_BYTES_MAX,
    ),
    "a head without end": ([protocol.STREAM + b"\1" + bytes(protocol.CHUNK_BYTES_MAX)] * 1_000, 65_536),
    "a head of tiny fields": (
        protocol.frames(protocol.STREAM, protocol.pack(b"200", protocol.pack(*[b"ab"] * 9_000))), 65_536,
    ),
    "pieces without end": (
        [protocol.STREAM + b"\0" + protocol.pack(b"200", b""), *[protocol.CHUNK + b"\0" + bytes(60_000)] * 1_000],
        65_536,
    ),
    "calls without end": ([protocol.CALL + b"\0" + protocol.pack(b"kv.get", b"x")] * 10_000, 1_000),
}  # fmt: skip


@pytest.mark.parametrize(("packets", "message_bytes"), GREEDY.values(), ids=GREEDY)
def test_no_message_takes_much_more_memory_than_it_has_bytes(packets: list[bytes], message_bytes: int) -> None:
    assert peak_bytes(accepted(), packets) < 4 * message_bytes + 50_000


def test_a_message_in_pieces_smaller_than_they_could_be_is_refused() -> None:
    with pytest.raises(BadFrame, match="smaller than they could be"):
        accepted().feed(protocol.RESULT + b"\1")


def test_a_message_larger_than_its_kind_may_be_is_refused() -> None:
    decoder = accepted()
    piece = protocol.RESULT + b"\1" + b"x" * protocol.CHUNK_BYTES_MAX
    with pytest.raises(BadFrame, match="larger than its kind"):
        feed_all(decoder, [piece] * 100)


def test_lines_are_counted_as_well_as_bytes() -> None:
    decoder = accepted()
    line = protocol.LOG + b"\0" + protocol.pack(b"info", b"", b"")
    assert isinstance(decoder.feed(line), Log)
    with pytest.raises(BadFrame, match="more log lines"):
        feed_all(decoder, [line] * LIMITS.log_bytes)


@pytest.mark.parametrize("first", [protocol.RESULT, protocol.LOG, protocol.FAILURE])
def test_nothing_comes_before_accepted(first: bytes) -> None:
    with pytest.raises(BadFrame, match="out of order"):
        Decoder(LIMITS).feed(first + b"\0" + protocol.pack(b"", b""))


@pytest.mark.parametrize("name", [b"service-worker-allowed", b"Service-Worker-Allowed"])
def test_a_header_that_reaches_beyond_the_scripts_own_paths_is_refused(name: bytes) -> None:
    with pytest.raises(BadAnswer, match=f"{name.decode().lower()}.*beyond this script's own paths"):
        header_list([name, b"/"])


def test_so_many_headers_and_no_more() -> None:
    header = [b"x-a", b"b"]
    assert len(header_list(header * protocol.HEADERS_MAX)) == protocol.HEADERS_MAX
    with pytest.raises(BadAnswer, match="there are 101 headers; 100 are allowed"):
        header_list(header * (protocol.HEADERS_MAX + 1))


def test_a_header_without_a_value_is_refused() -> None:
    with pytest.raises(BadAnswer, match="the last header has no value"):
        header_list([b"x-a", b"b", b"x-c"])


# ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = protocol.STREAM + b"\0" + protocol.pack(b"201", protocol.pack(b"X-A", b"b"))
PIECE = protocol.CHUNK + b"\0piece"


def result(kind: bytes) -> bytes:
    return protocol.RESULT + b"\0" + protocol.pack(kind, b"200", b"", b"", b"1", b"2")


def test_an_answer_begins_goes_on_and_ends() -> None:
    decoder = accepted()
    assert decoder.feed(HEAD) == Begun(201, (("x-a", "b"),))
    assert [decoder.feed(PIECE), decoder.feed(PIECE)] == [Chunk(b"piece")] * 2
    assert decoder.feed(result(protocol.ENDED)) == Ended(1, 2)


@pytest.mark.parametrize(
    "packets",
    [
        [PIECE],
        [result(protocol.ENDED)],
        [HEAD, HEAD],
        [HEAD, result(protocol.RESPONSE)],
        [HEAD, result(protocol.ANSWER)],
        [HEAD, result(protocol.FINAL_ANSWER)],
        [HEAD, result(protocol.COMPILED)],
        [HEAD, protocol.CHUNK + b"\0"],
        [HEAD, protocol.CHUNK + b"\1" + b"x" * protocol.CHUNK_BYTES_MAX, PIECE],
        [protocol.STREAM + b"\0" + protocol.pack(b"200")],
    ],
)
def test_an_answer_in_another_order_is_refused(packets: list[bytes]) -> None:
    with pytest.raises(BadFrame):
        feed_all(accepted(), packets)


@pytest.mark.parametrize(("status", "headers"), [(b"199", []), (b"600", []), (b"200", [b"connection", b"x"])])
def test_the_head_of_a_stream_is_as_legal_as_any(status: bytes, headers: list[bytes]) -> None:
    with pytest.raises(BadAnswer):
        accepted().feed(protocol.STREAM + b"\0" + protocol.pack(status, protocol.pack(*headers)))


def test_all_pieces_together_are_within_the_bytes_of_an_answer() -> None:
    decoder = accepted()
    piece = protocol.CHUNK + b"\0" + bytes(LIMITS.response_bytes // 4)
    feed_all(decoder, [HEAD, *[piece] * 4])
    with pytest.raises(BadFrame, match="larger than its kind"):
        decoder.feed(protocol.CHUNK + b"\0x")


def test_pieces_are_counted_as_well_as_bytes() -> None:
    decoder = accepted()
    feed_all(decoder, [HEAD, *[protocol.CHUNK + b"\0x"] * protocol.CHUNKS_MAX])
    with pytest.raises(BadFrame, match="one too many"):
        decoder.feed(protocol.CHUNK + b"\0x")
