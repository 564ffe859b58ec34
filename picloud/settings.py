"""The one table of the operator's settings: environment over file over default.

Owns: every setting's name, type, default and meaning, and the only read of the environment outside entry points.
A script's own settings are `picloud.model.Settings`; these are the server's.
"""

import dataclasses
import difflib
import hashlib
import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from picloud.errors import ConfigurationError
from picloud.model import DEFAULT_POLICY, LIMITS_MOST, Access, Limits, Policy, private_hosts

PREFIX = "PICLOUD_"
INVOCATION_CONNECTIONS = 4  # of each worker, for the transactions of invocations
INVOKE_DEPTH_MAX = 8  # of scripts that invoke each other

_CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's
_SECRET_KEY_CREDENTIAL = "picloud-secret-key"  # noqa: S105 - a name
_DATABASE_CREDENTIAL = "picloud-database-url"  # it may hold a password

_UNIX_PATH_BYTES_MAX = 107  # of a socket's address
_LONGEST_SOCKET_NAME = "/.s.PGSQL.5432.lock"
_MEMORY_BYTES_MIN = 1024 * 1024  # half of it is a sandbox's own


def _setting(default: Any, about: str, parse: Callable[[str], Any] | None = None) -> Any:
    """A field of the table below; `about` is what the documentation says of it."""
    return field(default=default, metadata={"about": about, "parse": parse or type(default)})


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def _count(most: int) -> Callable[[str], int]:
    return _number(1, most)


def _most(name: str, least: int, about: str) -> Any:
    """The operator's maximum of a script's limit."""
    parse = _number(least, getattr(LIMITS_MOST, name))
    return _setting(getattr(DEFAULT_POLICY.maxima, name), f"the most that a script may have: {about}", parse)


def _proxies(text: str) -> str:
    for word in text.split(","):
        if word.strip() not in ("", "unix"):
            ipaddress.ip_network(word.strip(), strict=False)  # its ValueError says what is wrong
    return text


def _private_hosts(text: str) -> str:
    private_hosts(text)  # its ValueError says what is wrong
    return text


def _bind(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and int(port) < 65536):
        raise ValueError("must be HOST:PORT or unix:PATH")
    return text


def _access(text: str) -> Access:
    try:
        return Access(text)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Access)}") from None


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _file(text: str) -> str:
    return str(_folder(text)) if text else ""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One field a setting; `about` is what the docs' table says of it."""

    data: Path = _setting(Path("var"), "folder of everything that lasts", _folder)
    run: str = _setting("", "folder of sockets and locks; empty: `run` under `data`", _file)
    executor_dir: str = _setting("", "folder of the executor's sockets and report; empty: that of `run`", _file)
    config: str = _setting("", "path of a picloud.toml; empty: none", str)
    bind: str = _setting("127.0.0.1:8080", "`host:port` or `unix:PATH` that HTTP listens on", _bind)
    database_url: str = _setting("", "a PostgreSQL of your own; empty: an embedded one under `data`", str)
    workers: int = _setting(2, "HTTP worker processes", _count(16))
    threads: int = _setting(64, "threads of each worker", _count(1024))
    pool_spare: int = _setting(8, "sandboxes that wait for work", _count(1024))
    pool_max: int = _setting(
        32,
        "sandboxes alive at once, beside those whose scripts wait for the network or are invoked by others",
        _count(4096),
    )
    parked_max: int = _setting(64, "how many may wait for the network beside them", _number(0, 4096))
    queue_length: int = _setting(64, "invocations of the node that may wait for a sandbox", _count(100_000))
    queue_ms: int = _setting(1000, "how long one waits before it is refused, in ms", _count(60_000))
    drain_ms: int = _setting(
        2500, "how long what runs may take to end when the server or the dispatcher is stopped, in ms", _count(300_000)
    )
    jobs_concurrency: int = _setting(8, "jobs that this node runs at once", _count(256))
    trusted_proxies: str = _setting(
        "unix",
        "whose `X-Forwarded-*` to believe: `unix` (peers on a unix socket) and addresses, comma-separated",
        _proxies,
    )
    secret_key_file: str = _setting(
        "",
        "file of the key that seals secrets; empty: the systemd credential `picloud-secret-key` if there is one,"
        " else `secret.key` under `data`",
        _file,
    )
    private_hosts: str = _setting(
        "", "hosts of the network inside that scripts may call: `name[:port]`, comma-separated", _private_hosts
    )
    retention_days: int = _setting(14, "days that invocations, logs and jobs that ended are kept", _count(36_500))
    retention_rows: int = _setting(
        200_000, "invocations, and jobs, that are kept at most, and ten times as many log lines", _count(100_000_000)
    )
    dead_days: int = _setting(
        90, "days that dead letters are kept: jobs that failed as often as they may", _count(36_500)
    )
    sandbox_user: str = _setting(
        "", "user of the sandboxes when started as root; empty: `picloud-sandbox`, else 65281", str
    )

    default_access: Access = _setting(
        Access.PUBLIC, "who may call a script that does not say: `public` (anyone) or `token`", _access
    )
    wall_ms_max: int = _most("wall_ms", 1, "ms from a sandbox's accept to the answer")
    cpu_ms_max: int = _most("cpu_ms", 1, "ms of computing")
    memory_bytes_max: int = _most("memory_bytes", _MEMORY_BYTES_MIN, "Lua's heap")
    request_bytes_max: int = _most("request_bytes", 0, "body of a request")
    response_bytes_max: int = _most("response_bytes", 0, "body of an answer")
    log_bytes_max: int = _most("log_bytes", 0, "log lines of one invocation")
    host_calls_max: int = _most("host_calls", 0, "host calls of one invocation")
    concurrency_max: int = _most("concurrency", 1, "invocations at once on a node")

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.data.absolute())  # one folder, wherever a process of ours stands

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and locks: short-lived, in `data` unless a socket's address would not fit there."""
        if self.run:
            return Path(self.run)
        inside = self.data / "run"
        if len(os.fsencode(inside)) + len(_LONGEST_SOCKET_NAME) + len("/pg") <= _UNIX_PATH_BYTES_MAX:
            return inside
        return Path(f"/tmp/picloud-{_digest(self.data)}")  # noqa: S108 - made 0700 and refused if not ours

    @property
    def policy(self) -> Policy:
        """What every script is held to."""
        maxima = Limits(*(getattr(self, f"{limit.name}_max") for limit in dataclasses.fields(Limits)))
        return Policy(maxima, self.default_access)

    @property
    def executor_run(self) -> Path:
        """Folder of the executor's sockets, its lock and its report: of another user, if it runs as one."""
        return Path(self.executor_dir) if self.executor_dir else self.run_dir

    @property
    def executor_socket(self) -> Path:
        """Where sandboxes accept."""
        return self.executor_run / "executor.sock"

    @property
    def reserve_socket(self) -> Path:
        """Where those accept that scripts invoke."""
        return self.executor_run / "reserve.sock"

    @property
    def protections_file(self) -> Path:
        """What the executor says of its protections."""
        return self.executor_run / "protections.json"

    @property
    def reserve(self) -> int:
        """How many of those there may be: as many as all invocations can have at once, so that none ever waits.

        Who invokes has a connection to the database before it has a second sandbox; so has a job.
        """
        return (self.workers * INVOCATION_CONNECTIONS + self.jobs_concurrency) * INVOKE_DEPTH_MAX

    @property
    def admin_token_file(self) -> Path:
        """Where `up` writes the admin token, 0600."""
        return self.data / "admin.token"

    @property
    def secret_key(self) -> Path:
        """The file of the key that seals secrets."""
        return Path(self.secret_key_file) if self.secret_key_file else self.data / "secret.key"

    def environment(self) -> dict[str, str]:
        """The variables that give the same settings to a process of ours, which then needs no file."""
        return {PREFIX + name.upper(): str(getattr(self, name)) for name in names() if name != "config"}


def names() -> list[str]:
    """Every setting's name, in the table's order."""
    return [item.name for item in dataclasses.fields(ServerSettings)]


def load(environ: Mapping[str, str] | None = None) -> ServerSettings:
    """Read the settings; ConfigurationError names what is wrong, where, and the nearest name."""
    environ = os.environ if environ is None else environ
    given = {key: value for key, value in environ.items() if key.startswith(PREFIX)}
    from_env = {key.removeprefix(PREFIX).lower(): (key, value) for key, value in given.items()}
    for client_side in ("url", "token"):  # the command line's, read by picloud.cli
        from_env.pop(client_side, None)
    path = from_env.get("config", ("", ""))[1]
    raw = {**_from_credentials(environ), **_from_file(path), **from_env}
    settings = ServerSettings(**{name: _parsed(name, origin, text) for name, (origin, text) in raw.items()})
    if settings.pool_spare > settings.pool_max:
        raise ConfigurationError(f"pool_spare={settings.pool_spare} is more than pool_max={settings.pool_max}")
    return settings


def _from_credentials(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What systemd hands over to a unit (`LoadCredential=`, `LoadCredentialEncrypted=`)."""
    folder = environ.get(_CREDENTIALS, "")
    key, database = Path(folder) / _SECRET_KEY_CREDENTIAL, Path(folder) / _DATABASE_CREDENTIAL
    found: dict[str, tuple[str, str]] = {}
    if folder and key.exists():
        found["secret_key_file"] = (_CREDENTIALS, str(key))
    if folder and database.exists():
        found["database_url"] = (_CREDENTIALS, database.read_text(encoding="utf-8").strip())
    return found


def document(path: str) -> dict[str, Any]:
    """What stands in the operator's file: table → contents; ConfigurationError if it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"PICLOUD_CONFIG={path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, or no TOML
        raise ConfigurationError(f"{path}: {error}") from error


def _from_file(path: str) -> dict[str, tuple[str, str]]:
    if not path:
        return {}
    given = document(path)
    table = given.get("server", {})
    stray = [name for name, value in given.items() if not isinstance(value, dict | list)]
    if stray or not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {', '.join(stray) or 'server'}: settings stand below the line [server]")
    return {name: (f"{path}: server.{name}", str(value)) for name, value in table.items()}


def _parsed(name: str, origin: str, text: str) -> Any:
    known = {item.name: item for item in dataclasses.fields(ServerSettings)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {_spelled_like(origin, name, near[0])}?" if near else ""
        raise ConfigurationError(f"{origin} is not a setting{hint}")
    try:
        return known[name].metadata["parse"](text)
    except ValueError as error:
        raise ConfigurationError(f"{origin}={text!r}: {error}") from error


def _spelled_like(origin: str, name: str, near: str) -> str:
    return PREFIX + near.upper() if origin.startswith(PREFIX) else origin[: -len(name)] + near


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
