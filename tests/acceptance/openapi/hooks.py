"""What schemathesis cannot know: texts with rules of their own, and which requests would end its own run."""

import base64
import io
import tarfile
from typing import Any

import schemathesis
from hypothesis import strategies as st

LUA = st.text(max_size=40).map(lambda text: f"return [====[{text}]====]")
LUA_BYTES = LUA.map(lambda text: text.encode(errors="replace"))
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
SEGMENTS = st.one_of(WORDS, WORDS.map("r-{}".format), st.sampled_from(["%C3%A9", "a.b", "x%2Fy", "é"]))
LAST = st.one_of(st.just(""), SEGMENTS, st.just("{last}"), st.just("{rest*}"))


def tar(source: bytes, mode: str) -> bytes:
    """A bundle of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("main.lua")
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
    return packed.getvalue()


CRON, INTERVALS, TIMES = ["*/5 * * * *", "0 0 9 * * MON-FRI", "@daily"], ["monday", "day"], ["09:00", "23:59:59"]
FORMATS = {
    "lua": LUA,
    "path-in-a-bundle": st.lists(WORDS, min_size=1, max_size=3).map("/".join),
    "printable": st.text(st.characters().filter(str.isprintable), min_size=1, max_size=20),
    "text-without-nul": st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])),
    "route-path": st.tuples(st.lists(SEGMENTS, max_size=3), LAST).map(lambda it: "/".join(["", "r", *it[0], it[1]])),
    "kv-key": WORDS,
    "http-method": st.sampled_from(["ANY", "GET", "post", "PROPFIND"]),
    "http-token": st.one_of(st.just("*"), st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=20)),
    "host": st.one_of(WORDS.map("{}.example.org".format), st.sampled_from(["localhost", "127.0.0.1", "[::1]"])),
    "origin": WORDS.map("https://{}.example.org:8443".format),  # `*` goes with no credentials
    "host-pattern": st.sampled_from(["api.example.org", "*.example.org", "192.0.2.1:8080", "[2001:db8::1]"]),
    "variable-name": st.sampled_from(["A", "_b", "C1", "a_long_name"]),  # there may be 64
    "type-pattern": st.one_of(WORDS, WORDS.map("{}.*".format), st.just("*")),
    "text-pattern": st.one_of(WORDS, WORDS.map("/{}*".format), st.just("*")),
    "event-id": WORDS,
    "event-source": WORDS.map("/{}".format),
    "event-type": WORDS,
    "event-schema": WORDS.map("https://example.org/{}".format),
    "cron": st.sampled_from(CRON),
    "interval": st.sampled_from(INTERVALS),
    "span": st.sampled_from(["90 seconds", "2 hours", "1 day"]),
    "schedule-name": WORDS,
    "time-of-day": st.sampled_from(TIMES),
    "time-zone": st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    "media-type": st.sampled_from(["application/json", "application/vnd.x+json; charset=utf-8"]),  # `data` is any JSON
    "base64": st.binary(max_size=20).map(lambda it: base64.b64encode(it).decode()),
    "date-time": st.integers(2100, 9998).map("{}-02-28T23:59:59Z".format),  # to come: of a token's end
}
for name, strategy in FORMATS.items():
    schemathesis.openapi.format(name, strategy)

PRESETS = ("github", "stripe", "standard-webhooks", "slack")
OF_CUSTOM = ("header", "algorithm", "encoding", "prefix", "timestamp_header", "tolerance_s", "id_header")

MEDIA: dict[str, tuple[st.SearchStrategy[bytes], tuple[str, ...]]] = {
    "text/x-lua": (LUA_BYTES, ("text/lua", "application/x-lua")),
    "application/x-tar": (LUA_BYTES.map(lambda it: tar(it, "w")), ("application/tar", "application/x-gtar")),
    "application/gzip": (
        LUA_BYTES.map(lambda it: tar(it, "w:gz")),
        ("application/x-gzip", "application/x-tar+gzip", "application/tar+gzip", "application/x-compressed-tar"),
    ),
}
for name, (content, aliases) in MEDIA.items():
    schemathesis.openapi.media_type(name, content, aliases=aliases)


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """Upload Lua also as what curl calls a form by itself; end no token at a moment that an answer told: it is past.

    What a webhook says of its signatures is for one preset alone: no schema that msgspec makes says so.
    """
    if case.media_type == "application/x-www-form-urlencoded" and case.operation.path.startswith("/api/v1/scripts"):
        case.body = "return 'no form'"
    if case.operation.path == "/api/v1/tokens" and isinstance(case.body, dict):
        ends = case.body.get("expires_at")
        if isinstance(ends, str) and ends.startswith("20"):
            case.body["expires_at"] = "99" + ends[2:]
    webhook = case.body.get("webhook") if isinstance(case.body, dict) else None
    if (
        isinstance(webhook, dict)
        and webhook.get("preset") in PRESETS
        and any(webhook.get(name) is not None for name in OF_CUSTOM)
    ):
        webhook["preset"] = "custom"
    return case


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Give a schedule one rule, and an event its data once: no schema that msgspec makes says so."""
    if case.operation.path.startswith("/api/v1/schedules") and isinstance(case.body, dict):
        _have_one_rule(case.body)
    if case.operation.path == "/api/v1/events":
        for event in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(event, dict) and isinstance(event.get("data_base64"), str):
                event.pop("data", None)


def _have_one_rule(schedule: dict[str, Any]) -> None:
    """Leave it one, unless it is to be wrong for another reason."""
    cron, every, at = (schedule.get(name) for name in ("cron", "every", "at"))
    if any(it not in (None, *good) for it, good in ((cron, CRON), (every, INTERVALS), (at, TIMES))):
        return
    if cron is not None or every is None:
        schedule.update(cron=cron or CRON[0], every=None, at=None)


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave it its own token, which is the first: once that is revoked it would see nothing but 401."""
    return (case.method, case.operation.path) != ("DELETE", "/api/v1/tokens/{token}") or not _is_one(case)


def _is_one(case: Any) -> bool:
    number = str(case.path_parameters.get("token"))
    return number.isdigit() and int(number) == 1
