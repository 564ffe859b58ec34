"""`picloud restore`: a PiCloud as it was when it was backed up. On the server's machine, while none runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from picloud.cli.backup import counted, without_passwords
from picloud.cli.backup_file import DUMP, Backup, Manifest, open_backup
from picloud.cli.ground import AlreadyRuns, data_lock, run_dir, with_database
from picloud.cli.output import patiently
from picloud.cli.terminal import harmless
from picloud.errors import ConfigurationError, Conflict, PlatformError
from picloud.sealing import KeyFile
from picloud.settings import ServerSettings, load
from picloud.storage import dump, loading, migrate
from picloud.storage.pool import Pool
from picloud.storage.secrets import SecretTable

_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Sealed:
    """Secrets that the key here does not open, and the scripts that are granted them."""

    names: list[str]
    scripts: list[str]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put it in the place of all that is there, which is gone then.")
@click.option("--yes", is_flag=True, help="Do not ask before anything is replaced.")
def restore(file: Path, replace: bool, yes: bool) -> None:
    """Fill an empty PiCloud with what 'picloud backup' wrote, while no server runs. All of it, or nothing.

    Settings of the server and the key of the secrets stay as they are on this machine.
    """
    settings = load()
    with contextlib.closing(open_backup(file)) as opened:
        with patiently("checking the backup"):
            held = Backup(opened)
            _check(held)
        with _stopped_database(settings) as dsn:
            _ask(loading.holding(dsn), held.manifest, replace=replace, yes=yes)
            with patiently("writing the database"):
                loading.load(dsn, _dump(held), replace=replace)
            sealed = _sealed(settings, dsn)
    _report(settings, held, sealed)


def _check(held: Backup) -> None:
    """Whatever can be known of a backup before anything is touched."""
    known = migrate.names()
    if held.manifest.schema not in known:
        raise PlatformError(
            f"this backup was made by a newer PiCloud: it has {held.manifest.schema}, and this one ends with "
            f"{known[-1]}; install that version first"
        )
    with dump.contents(_major(held.manifest), held.dump(), only_list=True) as listing:
        while listing.read(64 * 1024):
            pass


@contextlib.contextmanager
def _stopped_database(settings: ServerSettings) -> Iterator[str]:
    """The DSN of a database that no server of this machine uses."""
    with contextlib.ExitStack() as stack:
        if not settings.database_url:
            try:
                stack.enter_context(data_lock(settings))
            except AlreadyRuns as error:
                raise Conflict(f"{error}: stop it first; nothing was done") from None
            stack.enter_context(run_dir(settings))
            settings, _ = with_database(stack, settings)
        yield settings.database_url


def _ask(there: loading.Holding, manifest: Manifest, *, replace: bool, yes: bool) -> None:
    if not there.held:
        return
    if not replace:
        raise Conflict(
            f"this PiCloud is not empty (there are rows in {', '.join(there.held)}): keep what there is with "
            "'picloud backup', then put this in its place with 'picloud restore --replace'; nothing was done"
        )
    if not yes:
        taken = manifest.taken_at.isoformat()
        question = f"Remove everything that this PiCloud has, for the backup of {taken} ({counted(manifest.rows)})?"
        click.confirm(harmless(question), abort=True, err=True)


def _dump(held: Backup) -> loading.Dump:
    manifest = held.manifest
    return loading.Dump(held.dump(), _major(manifest), manifest.schema, manifest.rows)


def _major(manifest: Manifest) -> int:
    major, _, _ = manifest.pg_dump.partition(".")
    if not (major.isascii() and major.isdigit() and len(major) <= 3):
        raise PlatformError(f"this backup's {DUMP} was made by no pg_dump that is known: {manifest.pg_dump}")
    return int(major)


def _sealed(settings: ServerSettings, dsn: str) -> _Sealed:
    """Try every secret with the key of this machine."""
    keys = KeyFile(settings.secret_key)
    found = _Sealed([], [])
    with contextlib.closing(Pool(dsn, size=1, wait_ms=5_000)) as pool:
        table, after = SecretTable(pool), ""
        while page := table.page(_PAGE, after):
            after = page[-1].name
            closed = [one for one in page if not _opens(keys, one.name, table.sealed(one.name) or "")]
            found.names.extend(one.name for one in closed)
            found.scripts.extend(script for one in closed for script in one.scripts)
    return found


def _opens(keys: KeyFile, name: str, sealed: str) -> bool:
    try:
        keys.open(name, sealed)
    except PlatformError:  # another key, or none that can be read
        return False
    return True


def _report(settings: ServerSettings, held: Backup, sealed: _Sealed) -> None:
    manifest = held.manifest
    click.echo(harmless(f"restored the PiCloud of {manifest.taken_at.isoformat()}: {counted(manifest.rows)}"))
    if sealed.names:
        _warn(settings, manifest, sealed)
    if held.config and held.config != _own_config(settings):
        click.echo(
            "Its picloud.toml is not the one here, which stays: 'tar -xOf FILE picloud.toml' shows it.", err=True
        )


def _warn(settings: ServerSettings, manifest: Manifest, sealed: _Sealed) -> None:
    fingerprints = ", ".join(manifest.key.fingerprints) or "is not known"
    scripts = f" Until then these scripts get none: {', '.join(sorted({*sealed.scripts}))}." if sealed.scripts else ""
    say = (
        f"warning: {_why_not(settings)}. These secrets were sealed with the key that was {manifest.key.file} "
        f"(fingerprint {fingerprints}): {', '.join(sealed.names)}. Put it there, or set them anew.{scripts}"
    )
    click.echo(harmless(say), err=True)


def _why_not(settings: ServerSettings) -> str:
    try:
        KeyFile(settings.secret_key).check()
    except ConfigurationError as error:
        return str(error)
    return f"{settings.secret_key} is another key than that of the backup"


def _own_config(settings: ServerSettings) -> str:
    try:
        return without_passwords(Path(settings.config).read_text(encoding="utf-8")) if settings.config else ""
    except (OSError, ValueError):
        return ""
