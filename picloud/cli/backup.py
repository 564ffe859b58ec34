"""`picloud backup` and `picloud restore`: everything that a PiCloud keeps, as one file. On the server's machine."""

import contextlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click

from picloud import __version__
from picloud.cli.backup_file import CONFIG, DUMP, FORMAT, MANIFEST, Key, Manifest, Writer, encoded
from picloud.cli.ground import database
from picloud.cli.output import patiently
from picloud.cli.terminal import harmless
from picloud.errors import ConfigurationError, PlatformError
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings, load
from picloud.storage.dump import Snapshot, has_password, snapshot

_COUNTED = ("scripts", "versions", "routes", "schedules", "secrets", "tokens", "kv", "jobs", "invocations")
_PASSWORDS = (  # in a URI before its host; in its query, or in words
    (re.compile(r"(\w+://[^\s:@/\"']*):[^\s\"']*@"), r"\1@"),
    (re.compile(r"\b((?:ssl)?password)=(?:\\?'[^']*'|[^\s&\"']*)"), r"\1="),
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def backup(file: Path) -> None:
    """Write all that this PiCloud keeps into FILE; '-' is standard output. Whether it runs or not.

    Secrets are in it as they are in the database, sealed. The key that opens them is not: keep it elsewhere.
    """
    settings = load()
    if str(file) == "-":
        if sys.stdout.isatty():
            raise click.UsageError("a backup is no text: send standard output somewhere, or name a file")
        with tempfile.TemporaryFile() as spool:
            manifest = _back_up(settings, spool)
            spool.seek(0)
            shutil.copyfileobj(spool, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    else:
        with _replacing(file) as target:
            manifest = _back_up(settings, target)
    _report(file, manifest)


def _back_up(settings: ServerSettings, file: IO[bytes]) -> Manifest:
    if not settings.database_url and not (settings.data / "postgres").exists():
        raise PlatformError(f"there is nothing to back up in {settings.data}: set PICLOUD_DATA or PICLOUD_DATABASE_URL")
    config = config_of(settings)
    with patiently("reading the database"), database(settings) as dsn, snapshot(dsn) as taken:
        manifest = _manifest(settings, taken)
        writer = Writer(file, manifest.taken_at)
        writer.add(MANIFEST, [encoded(manifest)])
        writer.add(DUMP, taken.dump())
    if config is not None:
        writer.add(CONFIG, [config.encode()])
    writer.close()
    return manifest


def _manifest(settings: ServerSettings, taken: Snapshot) -> Manifest:
    return Manifest(
        FORMAT,
        __version__,
        taken.schema,
        datetime.now(UTC).replace(microsecond=0),
        taken.postgres,
        taken.program.version,
        _key(settings, taken.rows),
        taken.rows,
    )


def _key(settings: ServerSettings, rows: Mapping[str, int]) -> Key:
    """Which key there is; one that this user may not read is named without a fingerprint."""
    try:
        return Key(str(settings.secret_key), KeyFile(settings.secret_key).fingerprints())
    except ConfigurationError as error:
        if rows.get("secrets"):
            click.echo(f"{error}; the backup does not say which key opens its secrets", err=True)
        return Key(str(settings.secret_key), [])


def config_of(settings: ServerSettings) -> str | None:
    """The operator's file without passwords; None if there is none, or none that is sure to be without."""
    if not settings.config:
        return None
    try:
        text = without_passwords(Path(settings.config).read_text(encoding="utf-8"))
        url = tomllib.loads(text).get("server", {}).get("database_url", "")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{settings.config} cannot be read: {error}") from error
    if url and has_password(url):
        click.echo(f"{settings.config} is left out: its database_url has a password that cannot be cut out", err=True)
        return None
    return text


def without_passwords(text: str) -> str:
    """A configuration in which no address of a database has its password."""
    for pattern, replacement in _PASSWORDS:
        text = pattern.sub(replacement, text)
    return text


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file in a block that takes the place of another at its end, whole or not at all; for its owner alone."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise PlatformError(f"{path} is no file; '-' is standard output")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with os.fdopen(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def counted(rows: Mapping[str, int]) -> str:
    """What there is, for people."""
    return ", ".join(f"{name} {rows[name]}" for name in _COUNTED if rows.get(name)) or "nothing yet"


def _report(file: Path, manifest: Manifest) -> None:
    is_stdout = str(file) == "-"
    where = "standard output" if is_stdout else f"{file} ({file.stat().st_size // 1024 + 1} KiB)"
    click.echo(harmless(f"{where}: {counted(manifest.rows)}"), err=is_stdout)
    if manifest.rows.get("secrets"):
        which = f" ({manifest.key.fingerprints[0]})" if manifest.key.fingerprints else ""
        say = f"Not in it: the key of the secrets, {manifest.key.file}{which}. Keep a copy of it in another place."
        click.echo(harmless(say), err=is_stdout)
