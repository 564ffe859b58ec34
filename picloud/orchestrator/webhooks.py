"""Signed deliveries: whether one is what its sender signed, and what it is known by.

Owns: how each preset signs. Pure: bytes and a time in, an id or Unauthorized out. Signatures are made of the body as it
came, byte for byte, and compared in constant time; what a message says is what is missing, and never what would do.

A secret may have several values, one a line: while one is replaced by the next, both are good.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from picloud.errors import PlatformError, Unauthorized
from picloud.model import TOLERANCE_S, Algorithm, Encoding, Preset, Webhook

VALUES_MAX = 4  # of one secret

_ID = re.compile(r"[!-~]{1,200}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")  # s
_STANDARD_PREFIX = "whsec_"
_VERIFICATION = "url_verification"  # Slack's type of what is no event, and wants its challenge back


class Unusable(PlatformError):
    """The value of a secret is none that deliveries could be signed with."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery says of itself; nothing of it is believed yet."""

    body: bytes
    header: str  # where its signatures stand
    content: bytes  # that was signed
    signatures: Sequence[str]  # one of them is to match
    timestamp: str | None = None
    id: str | None = None
    id_field: str | None = None  # of its JSON, where the id stands
    is_id_signed: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What a delivery is known by."""

    id: str  # that its sender gave it, or a hash
    key: str  # the same for the same delivery, and for no other, whoever says what it is


class _Headers:
    """The headers of a delivery, by the names that its sender's documentation has."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values = dict(pairs)

    def get(self, name: str) -> str | None:
        return self._values.get(name.lower())

    def need(self, name: str) -> str:
        """Unauthorized says which one is missing."""
        value = self.get(name)
        if value is None:
            raise Unauthorized(f"the header {name} is missing: this takes signed webhooks, and nothing else")
        return value


def keys_of(webhook: Webhook, value: str) -> list[bytes]:
    """The keys that a secret's value stands for; Unusable, which says nothing of the value."""
    lines = [line.strip() for line in value.split("\n") if line.strip()]
    if not 1 <= len(lines) <= VALUES_MAX:
        raise Unusable(f"it has {len(lines)} lines that are not empty: one a value, and at most {VALUES_MAX}")
    return [_standard_key(line) if webhook.preset is Preset.STANDARD else line.encode() for line in lines]


def read(webhook: Webhook, headers: Iterable[tuple[str, str]], body: bytes) -> Delivery:
    """A delivery; ``headers`` by lower-case names. Unauthorized: one is missing, or is none that a signer makes."""
    return _READERS[webhook.preset](webhook, _Headers(headers), body)


def verify(webhook: Webhook, keys: Sequence[bytes], delivery: Delivery, now: float) -> Known:
    """What a delivery is known by, if it is signed with one of the keys; Unauthorized. ``now`` in s.

    When the same is delivered again, it is known by the same.
    """
    if not _is_signed(webhook, keys, delivery):
        raise Unauthorized(f"the signature in {delivery.header} is not that of this body with this webhook's secret")
    if delivery.timestamp is not None:
        _check_time(delivery.timestamp, webhook.tolerance_s or TOLERANCE_S, now)
    identifier = _known_by(delivery.id or _text_of(delivery.body, delivery.id_field), delivery.content)
    if delivery.id is None or delivery.is_id_signed:
        return Known(identifier, identifier)
    # Whoever got hold of one delivery could send it with the id of one to come, which would then be taken for its twin.
    return Known(identifier, f"{identifier} {hashlib.sha256(delivery.body).hexdigest()}")


def challenge_of(webhook: Webhook, body: bytes) -> str | None:
    """What is to be answered to a delivery, once it is verified, that only asks who is here; None: it is an event."""
    if webhook.preset is not Preset.SLACK or _text_of(body, "type") != _VERIFICATION:
        return None
    return _text_of(body, "challenge")


def _is_signed(webhook: Webhook, keys: Sequence[bytes], delivery: Delivery) -> bool:
    algorithm, encoding = webhook.algorithm or Algorithm.SHA256, _ENCODINGS.get(webhook.preset, webhook.encoding)
    wanted = [_written(hmac.digest(key, delivery.content, algorithm), encoding) for key in keys]
    given = [it.encode("latin-1") for it in delivery.signatures]
    return any(hmac.compare_digest(one, other) for one in wanted for other in given)


def _written(digest: bytes, encoding: Encoding | None) -> bytes:
    return base64.b64encode(digest).rstrip(b"=") if encoding is Encoding.BASE64 else digest.hex().encode()


def _check_time(timestamp: str, tolerance_s: int, now: float) -> None:
    if abs(now - int(timestamp)) > tolerance_s:
        raise Unauthorized(f"it was signed more than {tolerance_s} s before or after the time here")


def _known_by(identifier: str | None, content: bytes) -> str:
    """Its id, if that can stand in a key; else a hash of it, or of what was signed."""
    if identifier and _ID.fullmatch(identifier):
        return identifier
    return "sha256:" + hashlib.sha256(identifier.encode("utf-8", "replace") if identifier else content).hexdigest()


def _text_of(body: bytes, field: str | None) -> str | None:
    """A text in the object that a body is; None: there is none, or it is no such body."""
    if field is None:
        return None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    value = document.get(field) if isinstance(document, dict) else None
    return value if isinstance(value, str) else None


def _standard_key(text: str) -> bytes:
    encoded = text.removeprefix(_STANDARD_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("it is no base64, with 'whsec_' before it or without") from None
    if not key:
        raise Unusable("there is nothing in it")
    return key


def _time(text: str, name: str) -> str:
    if not _TIMESTAMP.fullmatch(text):
        raise Unauthorized(f"{name} is no time in seconds since 1970")
    return text


# ── each preset ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _github(_: Webhook, headers: _Headers, body: bytes) -> Delivery:
    name = "X-Hub-Signature-256"
    signature = _behind("sha256=", headers.need(name), name)
    return Delivery(body, name, body, [signature], id=headers.get("X-GitHub-Delivery"), is_id_signed=False)


def _stripe(_: Webhook, headers: _Headers, body: bytes) -> Delivery:
    """`t=TIME,v1=SIGNATURE`, of which there may be several, beside other versions."""
    name = "Stripe-Signature"
    fields = [item.strip().partition("=")[::2] for item in headers.need(name).split(",")]
    time = _time(next((value for key, value in fields if key == "t"), ""), f"t= in {name}")
    signatures = [value for key, value in fields if key == "v1"]
    return Delivery(body, name, time.encode() + b"." + body, signatures, time, id_field="id")


def _standard(_: Webhook, headers: _Headers, body: bytes) -> Delivery:
    """`v1,SIGNATURE`, of which there may be several, with blanks between, beside other versions."""
    name, identifier = "webhook-signature", headers.need("webhook-id")
    time = _time(headers.need("webhook-timestamp"), "webhook-timestamp")
    words = [word.partition(",")[::2] for word in headers.need(name).split()]
    signatures = [value.rstrip("=") for version, value in words if version == "v1"]
    return Delivery(body, name, f"{identifier}.{time}.".encode("latin-1") + body, signatures, time, id=identifier)


def _slack(_: Webhook, headers: _Headers, body: bytes) -> Delivery:
    name = "X-Slack-Signature"
    time = _time(headers.need("X-Slack-Request-Timestamp"), "X-Slack-Request-Timestamp")
    signature = _behind("v0=", headers.need(name), name)
    return Delivery(body, name, f"v0:{time}:".encode() + body, [signature], time, id_field="event_id")


def _custom(webhook: Webhook, headers: _Headers, body: bytes) -> Delivery:
    name = webhook.header or ""
    signature = _behind(webhook.prefix or "", headers.need(name), name)
    signature = signature.rstrip("=") if webhook.encoding is Encoding.BASE64 else signature.lower()
    identifier = headers.get(webhook.id_header) if webhook.id_header else None
    if webhook.timestamp_header is None:
        return Delivery(body, name, body, [signature], id=identifier, is_id_signed=False)
    time = _time(headers.need(webhook.timestamp_header), webhook.timestamp_header)
    return Delivery(body, name, time.encode() + b"." + body, [signature], time, id=identifier, is_id_signed=False)


def _behind(prefix: str, value: str, name: str) -> str:
    if not value.startswith(prefix):
        raise Unauthorized(f"{name} does not begin with {prefix}")
    return value.removeprefix(prefix)


_READERS: Mapping[Preset, Callable[[Webhook, _Headers, bytes], Delivery]] = {
    Preset.GITHUB: _github,
    Preset.STRIPE: _stripe,
    Preset.STANDARD: _standard,
    Preset.SLACK: _slack,
    Preset.CUSTOM: _custom,
}

_ENCODINGS = {Preset.STANDARD: Encoding.BASE64}
