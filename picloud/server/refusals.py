"""What a client is answered before, or instead of, the application: a problem (RFC 9457), never gunicorn's HTML.

Nothing of the request is repeated: gunicorn's messages quote it.
"""

from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

from gunicorn.http import errors

from picloud.server.connections import SlowRequest, TruncatedBody

RenderProblem = Callable[[int, str], tuple[int, str, bytes]]
"""Status and detail → status, content type, body."""

_RETRY_AFTER_S = 1
_TRY_AGAIN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

_DETAILS: tuple[tuple[type[Exception], int, str], ...] = (  # the first that fits
    (errors.InvalidResponseHeader, 500, "the answer has a header that is not valid"),
    (errors.InvalidResponseHeaderName, 500, "the answer has a header that is not valid"),
    (errors.ConfigurationProblem, 500, "the request could not be served"),
    (SlowRequest, 408, "the request did not come to its end in time"),
    (TruncatedBody, 400, "the body ended before its announced length"),
    (errors.LimitRequestLine, 414, "the request line is longer than 8190 bytes"),
    (errors.LimitRequestHeaders, 431, "the headers are more than 100, longer than 64 KiB, or one than 8190 bytes"),
    (errors.UnsupportedTransferCoding, 501, "the only transfer coding that is known here is 'chunked'"),
    (errors.ExpectationFailed, 417, "the only expectation that is known here is '100-continue'"),
    (errors.InvalidHTTPVersion, 505, "this is neither HTTP/1.1 nor HTTP/1.0"),
    (errors.InvalidRequestMethod, 400, "the method is not valid"),
    (errors.InvalidHeaderName, 400, "a header's name is not valid"),
    (errors.ObsoleteFolding, 400, "a header goes on in a second line"),
    (errors.InvalidHeader, 400, "a header is not valid, is repeated or contradicts another"),
    (errors.InvalidChunkSize, 400, "a chunk's size is not valid"),
    (errors.ChunkMissingTerminator, 400, "a chunk does not end where its size says"),
    (errors.InvalidChunkExtension, 400, "a chunk's extension is not valid"),
    (errors.ParseException, 400, "the request is not valid HTTP"),
    (Exception, 500, "the server's log holds the details"),
)


def judge(error: BaseException) -> tuple[int, str]:
    """An exception of the parser, of ours or of the application → status and detail."""
    return next((status, detail) for kind, status, detail in _DETAILS if isinstance(error, kind))


def answer(
    render: RenderProblem,
    status: int,
    detail: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    with_body: bool = True,
    keeps_alive: bool = False,
) -> bytes:
    """A whole answer, after which the connection is closed unless it is kept alive."""
    status, content_type, body = render(status, detail)
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Server: picloud",
        f"Date: {formatdate(usegmt=True)}",
        f"Connection: {'keep-alive' if keeps_alive else 'close'}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *([f"Retry-After: {_RETRY_AFTER_S}"] if status in _TRY_AGAIN else []),
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body if with_body else b"")
