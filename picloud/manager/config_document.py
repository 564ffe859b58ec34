"""A configuration as one document: what it may hold, how one is made of what stands, and what one asks for.

Owns: its form. A script's `settings`, `route`, `subscription` and `schedule` are the tables of a `picloud.toml`, as
JSON. What is left out is what the `picloud.toml` among the script's files says, and nothing if there is none. So that
file is neither lost nor contradicted: an export leaves out what it says, and says all that it does not.
"""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from picloud.configuration import FILES_BYTES_MAX, SCRIPTS_MAX, ScriptState, Snapshot, same_schedule, tidy, value_of
from picloud.declared import NOTHING, Declared
from picloud.errors import BodyTooLarge, InvalidRequest
from picloud.manager import bundle, manifest
from picloud.manager.files import ENTRY, FILES_MAX, Collector
from picloud.manager.manifest import RouteTable, SubscriptionTable, Tables
from picloud.manager.schedule_tables import BundleTable
from picloud.manager.scripts import check_name
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.messages.forms import form
from picloud.messages.reading import BODY
from picloud.messages.wrong import invalid
from picloud.model import SCRIPT_NAME, NewSchedule, StoredSettings

SCRIPT_BYTES_MAX = 8 * 1024 * 1024  # of JSON: files of 1 MiB, a byte of which is at most six of JSON's, and the rest

UNSAID = BundleTable()
"""A schedule of which nothing is said."""

_DAY_S = 86_400  # what it says in words
_KINDS = ("settings", "route", "subscription", "schedule")

_FILES = {
    "required": [ENTRY],
    "properties": {ENTRY: {"type": "string", "format": "lua"}},
    "patternProperties": {r"\.(lua|toml)$": {"type": "string", "format": "lua"}},
    "propertyNames": {"format": "path-in-a-bundle"},
    "maxProperties": FILES_MAX,
}
_NAMED = {"propertyNames": {"pattern": f"^{SCRIPT_NAME.pattern}$"}}


class FileBytes(msgspec.Struct, forbid_unknown_fields=True):
    """A file that is no text."""

    base64: Annotated[str, form("base64", "its bytes")]


class ScriptDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One script: the files of its active version, and what its own `picloud.toml` does not say."""

    files: Annotated[dict[str, str | FileBytes], Meta(description="path → text, or bytes", extra_json_schema=_FILES)]
    settings: SettingsPatch | UnsetType = UNSET
    route: list[RouteTable] | UnsetType = UNSET
    subscription: list[SubscriptionTable] | UnsetType = UNSET
    schedule: list[BundleTable] | UnsetType = UNSET


class ConfigDocument(msgspec.Struct, forbid_unknown_fields=True):
    """All that is configured of scripts."""

    scripts: Annotated[dict[str, ScriptDocument], Meta(description="by name", extra_json_schema=_NAMED)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A script as it is to be."""

    state: ScriptState
    files: Mapping[str, bytes]
    own: Declared  # by the picloud.toml among its files


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    scripts: dict[str, msgspec.Raw]


def read_document(body: bytes) -> ConfigDocument:
    """The document that this JSON is; InvalidRequest names script and field.

    Script by script: what is wrong is known by its name, and nothing is built of a body that is something else.
    """
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError as error:
        raise invalid(_Envelope, error, BODY) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON that is taken here: {error}") from error
    if len(envelope.scripts) > SCRIPTS_MAX:
        raise InvalidRequest.of("scripts", f"has {len(envelope.scripts)} entries, at most {SCRIPTS_MAX} are taken")
    return ConfigDocument({name: _read_script(name, raw) for name, raw in envelope.scripts.items()})


def _read_script(name: str, raw: msgspec.Raw) -> ScriptDocument:
    with _standing_in(name):
        check_name(name)
        if len(bytes(raw)) > SCRIPT_BYTES_MAX:
            raise BodyTooLarge(f"it has over {SCRIPT_BYTES_MAX} bytes as JSON, which is the limit")
        value = value_of(bytes(raw))
        try:
            return msgspec.convert(value, ScriptDocument)
        except msgspec.ValidationError as error:
            raise invalid(ScriptDocument, error, "", value) from error


def document_of(snapshot: Snapshot, rules: SettingsRules) -> ConfigDocument:
    """What stands, as a document."""
    scripts = {name: _script_document(it, snapshot.files[name], rules) for name, it in sorted(snapshot.scripts.items())}
    return ConfigDocument(scripts)


def wanted_of(document: ConfigDocument, now: Snapshot, rules: SettingsRules) -> list[Wanted]:
    """What a document asks for, checked but for what does not compile; InvalidRequest names script and field.

    Settings that stand as they are asked for are taken as they are: the operator's maxima may have become smaller.
    """
    wanted, size = [], 0
    for name, script in document.scripts.items():
        with _standing_in(name):
            one = _wanted(name, script, now.scripts.get(name), rules)
        wanted.append(one)
        size += one.state.bytes
        if size > FILES_BYTES_MAX:
            raise BodyTooLarge(f"with script '{name}' the files have over {FILES_BYTES_MAX} bytes, which is the limit")
    return wanted


def _script_document(it: ScriptState, files: Mapping[str, bytes], rules: SettingsRules) -> ScriptDocument:
    try:
        own: Declared | None = _own(it.name, files, rules)
    except InvalidRequest:  # it was valid when it was uploaded
        own = None
    shown = ScriptDocument({path: _text(content) for path, content in sorted(files.items())})
    if own is None or _settings_of(own) != it.settings:
        shown.settings = msgspec.convert(it.settings, SettingsPatch)
    if own is None or {*map(str, own.routes or ())} != {*map(str, it.routes)}:
        ways = sorted(it.routes, key=lambda one: (one.path, one.host or "", one.method))
        shown.route = [RouteTable(one.path, one.method, one.host) for one in ways]
    if own is None or {*(own.subscriptions or ())} != {*it.subscriptions}:
        heard = sorted(it.subscriptions, key=lambda one: (one.type, one.source or "", one.subject or ""))
        shown.subscription = [SubscriptionTable(one.type, one.source, one.subject) for one in heard]
    if own is None or not _same_schedules(own.schedules or (), it.schedules):
        shown.schedule = [schedule_table(one) for one in sorted(it.schedules, key=lambda one: one.name)]
    return shown


def schedule_table(it: NewSchedule) -> BundleTable:
    """A schedule as a picloud.toml has it, with its name."""
    return BundleTable(
        name=it.name,
        cron=it.cron,
        every=it.every,
        at=it.at,
        timezone=it.timezone,
        payload=value_of(it.payload),
        overlap=it.overlap,
        missed=it.missed,
        missed_within=UNSAID.missed_within if it.missed_within_s == _DAY_S else it.missed_within_s,
        jitter=it.jitter_s,
    )


def _wanted(name: str, script: ScriptDocument, now: ScriptState | None, rules: SettingsRules) -> Wanted:
    files = _files(script)
    said = {kind: getattr(script, kind) for kind in _KINDS if getattr(script, kind) is not UNSET}
    try:
        own = _own(name, files, rules)
    except InvalidRequest:
        if len(said) < len(_KINDS):
            raise
        own = NOTHING  # none of it is asked
    settings = said.pop("settings", UNSET)
    told = manifest.declared(Tables(**said), rules, script=name)
    state = ScriptState(
        name,
        bundle.digest(files),
        sum(map(len, files.values())),
        _settings_of(own) if settings is UNSET else _settings(settings, now, rules),
        tuple((told if "route" in said else own).routes or ()),
        tuple((told if "subscription" in said else own).subscriptions or ()),
        tuple((told if "schedule" in said else own).schedules or ()),
    )
    return Wanted(state, files, own)


def _own(name: str, files: Mapping[str, bytes], rules: SettingsRules) -> Declared:
    return manifest.read(files, rules, script=name)


def _settings(patch: SettingsPatch, now: ScriptState | None, rules: SettingsRules) -> StoredSettings:
    given = tidy(msgspec.to_builtins(patch))
    if now is not None and given == now.settings:
        return now.settings
    change = manifest.declared(Tables(settings=patch), rules, script="").settings
    assert change
    return tidy(change({}))


def _settings_of(own: Declared) -> dict[str, Any]:
    return tidy(own.settings({})) if own.settings else {}


def _same_schedules(some: Any, others: Any) -> bool:
    pairs = zip(sorted(some, key=lambda it: it.name), sorted(others, key=lambda it: it.name), strict=False)
    return len(some) == len(others) and all(same_schedule(one, other) for one, other in pairs)


def _files(script: ScriptDocument) -> dict[str, bytes]:
    taken = Collector("files.")
    for path, content in script.files.items():
        try:
            taken.add(path, content.encode() if isinstance(content, str) else b64decode(content.base64, validate=True))
        except UnicodeEncodeError:
            raise taken.refusal(path, "the text has half of a surrogate pair, which is no character") from None
        except binascii.Error as error:
            raise taken.refusal(path, f"is no base64: {error}") from error
    return taken.whole()


def _text(content: bytes) -> str | FileBytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return FileBytes(b64encode(content).decode())


@contextmanager
def _standing_in(name: str) -> Iterator[None]:
    """Say of what is refused in which script it stands."""
    try:
        yield
    except BodyTooLarge as error:
        raise BodyTooLarge(f"scripts/{name}: {error}") from error
    except InvalidRequest as error:
        errors = [{**one, "field": f"scripts.{name}.{one['field']}"} for one in error.errors]
        place = "/" if str(error).startswith(manifest.FILE) else ": "
        raise InvalidRequest(f"scripts/{name}{place}{error}", errors) from error
