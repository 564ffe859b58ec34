"""The decoder of hostile bytes: whatever comes, a message or BadFrame, in bounded memory."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.executor.frames import BadAnswer, BadFrame, Decoder, header_list
from picloud.executor.said import Accepted, Log
from picloud.model import Limits
from sandbox import protocol

LIMITS = Limits(response_bytes=200_000, log_bytes=1_000)


def accepted() -> Decoder:
    decoder = Decoder(LIMITS)
    assert decoder.feed(protocol.ACCEPTED + b"\0") == Accepted()
    return decoder


def feed_all(decoder: Decoder, packets: list[bytes]) -> None:
    for packet in packets:
        decoder.feed(packet)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_any_packets_are_messages_or_a_bad_frame(packets: list[bytes]) -> None:
    with contextlib.suppress(BadFrame):
        feed_all(Decoder(LIMITS), packets)


@given(st.sampled_from("ALRFD"), st.lists(st.binary(max_size=40), max_size=8))
def test_any_fields_are_a_message_or_a_bad_frame(tag: str, fields: list[bytes]) -> None:
    with contextlib.suppress(BadFrame):
        accepted().feed(tag.encode() + b"\0" + protocol.pack(*fields))


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
