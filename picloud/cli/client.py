"""The API from the command line's side. Owns urllib3 and what an error of the API looks like to a person."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from picloud.cli.server_sent import Event, parse
from picloud.errors import ConfigurationError, PicloudError
from picloud.model import is_script_name
from picloud.settings import ServerSettings, load

API = "/api/v1"
_TIMEOUT_S = 60.0
_CONNECT_S = 10.0
_WHAT_IS_LACKING = "no token: set PICLOUD_TOKEN"
_RETRY_STATUSES = (502, 503, 504)  # ours while it is full or starts, and a proxy's while we are away


class ApiError(PicloudError):
    """PiCloud refused the request.

    ``problem``: the whole document (RFC 9457); empty if there was no answer, or none of PiCloud's.
    """

    def __init__(self, message: str, problem: Mapping[str, Any] = {}) -> None:
        super().__init__(message)
        self.problem = problem

    @property
    def name(self) -> str:
        """The problem's name, such as `not-found`; empty if there is none."""
        return str(self.problem.get("type", "")).rpartition("/")[2]


class NotPicloud(ApiError):
    """Something answers, but it is no PiCloud."""


class Interrupted(PicloudError):
    """The connection was lost; it may be there again later."""


class Document(dict[str, Any]):
    """An object of JSON that PiCloud sent: what it must have and has not tells that it was no PiCloud."""

    def __missing__(self, key: str) -> NoReturn:
        raise NotPicloud(f"what answers is no PiCloud, or one of another version: it sent no '{key}'")


class Client:
    """A running PiCloud. `url`: http(s)://… or unix:PATH.

    `no_token`: what to say if `token` is empty and one is wanted.
    """

    def __init__(self, url: str, token: str, timeout_s: float = _TIMEOUT_S, no_token: str = _WHAT_IS_LACKING) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._no_token = "" if token else no_token
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        if url.startswith("unix:"):
            self._prefix = ""
            self._pool: Any = _UnixPool(url.removeprefix("unix:"))
        else:
            self._prefix = self.url
            self._pool = urllib3.PoolManager()

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}, *, whole: bool = True
    ) -> urllib3.BaseHTTPResponse:
        """One exchange, whatever its status; ApiError if PiCloud does not answer, or wants a token that we lack.

        If it is not to be `whole`, its body is not read yet: see `pieces`.
        """
        try:
            answer: urllib3.BaseHTTPResponse = self._pool.request(
                method, self._prefix + path, body=body, headers={**self._headers, **headers},
                timeout=self._timeout_s, retries=False, redirect=False, preload_content=whole,
            )  # fmt: skip
        except ValueError as error:  # of http.client: a line break in a header
            raise ApiError("PICLOUD_TOKEN or a header is not valid: it must be printable ASCII") from error
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"PiCloud does not answer at {self.url}: {_hint(error)} ({_reason(error)})") from error
        self._require_token(answer)
        return answer

    def call(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Any:
        """One exchange → its JSON, a Document, or None; ApiError for every status of 400 and more."""
        answer = self.send(method, path, body, headers)
        if answer.status >= 400:
            raise refused(answer)
        if (answer.status == 204) != (method == "DELETE"):
            raise self._stranger()
        return None if answer.status == 204 else self.document(answer.data)

    def document(self, text: bytes | str) -> Document:
        """The object that this JSON is; NotPicloud."""
        try:
            found = json.loads(text, object_hook=Document)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Document):
            raise self._stranger()
        return found

    def _stranger(self) -> NotPicloud:
        return NotPicloud(f"{self.url} answers, but it is no PiCloud")

    def items(self, path: str, limit: int | None = None) -> Iterator[Any]:
        """Every item of a list, page after page, at most `limit`."""
        joined, after, left = "&" if "?" in path else "?", "", limit
        while left is None or left > 0:
            size = min(100, left) if left else 100
            page = self.call("GET", f"{path}{joined}limit={size}" + (f"&after={quote(str(after))}" if after else ""))
            if not isinstance(page["items"], list) or not all(isinstance(it, Document) for it in page["items"]):
                raise self._stranger()
            yield from page["items"]
            if after and after == page["next"]:  # it would go on for ever
                raise self._stranger()
            after, left = page["next"], left - len(page["items"]) if left is not None else None
            if not after:
                return

    def visible_items(self, path: str, limit: int | None = None) -> list[Any]:
        """The same as a list; empty for a token that may not see them."""
        try:
            return list(self.items(path, limit))
        except ApiError as error:
            if error.name == "forbidden":
                return []
            raise

    def events(self, path: str, last_id: str) -> Iterator[Event]:
        """Server-sent events until the connection ends, behind the one of `last_id` if there is one.

        Interrupted if it cannot be made or breaks off; ApiError if PiCloud refuses.
        """
        headers = {**self._headers, "accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
        try:
            answer = self._pool.request(
                "GET", self._prefix + path, headers=headers, preload_content=False, retries=False, redirect=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=None),
            )  # fmt: skip
            with answer:
                if answer.status in _RETRY_STATUSES:
                    raise Interrupted(describe(answer))
                self._require_token(answer)
                if answer.status >= 400:
                    raise refused(answer)
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    raise self._stranger()
                yield from parse(answer.stream())
        except UnicodeDecodeError as error:
            raise self._stranger() from error
        except urllib3.exceptions.HTTPError as error:
            raise Interrupted(f"the connection to {self.url} was lost ({_reason(error)})") from error
        raise Interrupted(f"{self.url} ended the connection")

    def _require_token(self, answer: urllib3.BaseHTTPResponse) -> None:
        if answer.status == 401 and self._no_token:
            raise ApiError(self._no_token, refused(answer).problem)


def connect(timeout_s: float = _TIMEOUT_S) -> Client:
    """The PiCloud that the environment names, else the one that runs from these settings.

    The token in the data folder goes to the latter only.
    """
    settings = load()
    url = os.environ.get("PICLOUD_URL") or default_url(settings)
    if not url.startswith(("http://", "https://", "unix:")):
        raise ConfigurationError(f"PICLOUD_URL={url}: must be http://HOST:PORT, https://HOST or unix:PATH")
    token, no_token = os.environ.get("PICLOUD_TOKEN", ""), _WHAT_IS_LACKING
    if not token and url.rstrip("/") == default_url(settings):  # the local token is nobody else's business
        token = _local_token(settings)
        looked = f"looked for {settings.admin_token_file}"
        no_token = f"{_WHAT_IS_LACKING}, or PICLOUD_DATA to the folder that 'picloud up' uses ({looked})"
    return Client(url, token, timeout_s, no_token)


def default_url(settings: ServerSettings) -> str:
    """Where a server with these settings listens."""
    return settings.bind if settings.bind.startswith("unix:") else f"http://{settings.bind}"


def script_path(name: str) -> str:
    """Where the API has a script; PicloudError for what is no name."""
    if not is_script_name(name):  # in a URL it could reach another script
        raise PicloudError(f"there is no script {name!r}, and there cannot be one of this name")
    return f"{API}/scripts/{name}"


def pieces(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body of an answer as it comes; ApiError if it is cut off."""
    try:
        yield from answer.stream()
    except urllib3.exceptions.HTTPError as error:
        raise ApiError("the answer was cut off: what went wrong after it had begun is in the script's log") from error


def refused(answer: urllib3.BaseHTTPResponse) -> ApiError:
    """The error that an answer of 400 and more is."""
    try:
        problem = json.loads(answer.data)
    except (ValueError, RecursionError):
        problem = {}
    return ApiError(describe(answer), problem if isinstance(problem, dict) else {})


def describe(answer: urllib3.BaseHTTPResponse) -> str:
    """What a problem says, in one line."""
    try:
        problem = json.loads(answer.data)
        said = f"{problem['detail']} ({problem['type'].rpartition('/')[2]}, {answer.status})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = f"status {answer.status}"
    return f"{said}; set PICLOUD_TOKEN to a token of this PiCloud" if answer.status == 401 else said


def _local_token(settings: ServerSettings) -> str:
    try:
        return settings.admin_token_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ApiError(f"{settings.admin_token_file}: {error.strerror}; set PICLOUD_TOKEN instead") from error


def _hint(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its certificate is not trusted here; SSL_CERT_FILE names a file with the authority's"
    start = "systemctl start picloud" if Path("/etc/picloud/picloud.toml").exists() else "picloud up"
    return f"start it with '{start}', or say with PICLOUD_URL where it is"


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    return (cause.strerror or type(cause).__name__) if isinstance(cause, OSError) else type(error).__name__


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__("localhost", **kwargs)
        self._path = path

    def _new_conn(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._path)
        except OSError as error:
            connection.close()
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error
        return connection


class _UnixPool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> _UnixConnection:
        return _UnixConnection(self._path)
