"""Webhooks: whose deliveries a script takes, and how they are signed."""

import enum
from dataclasses import dataclass, fields, replace


class Preset(enum.StrEnum):
    """Whose way of signing it is."""

    GITHUB = "github"
    STRIPE = "stripe"
    STANDARD = "standard-webhooks"
    SLACK = "slack"
    CUSTOM = "custom"  # as the settings say


class Algorithm(enum.StrEnum):
    """The hash of an HMAC."""

    SHA256 = "sha256"
    SHA512 = "sha512"
    SHA1 = "sha1"


class Encoding(enum.StrEnum):
    """How a signature is written."""

    HEX = "hex"
    BASE64 = "base64"


TOLERANCE_S = 300  # of a timestamp, into the past and into the future
TOLERANCE_S_MAX = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Webhook:
    """How the deliveries of a script are checked; what is null is as the preset has it, or is not there."""

    preset: Preset
    secret: str  # the name of the one that they are signed with
    header: str | None = None  # lower-case, as all that follow: where the signature stands
    algorithm: Algorithm | None = None
    encoding: Encoding | None = None
    prefix: str | None = None  # before the signature, in its header
    timestamp_header: str | None = None  # Unix time in s, signed before the body; None: none is
    tolerance_s: int | None = None
    id_header: str | None = None  # where the delivery's id stands; None: nowhere

    def held(self) -> "Webhook":
        """The same with what holds where the settings may say it, and do not."""
        return _filled(self) if self.preset is Preset.CUSTOM else self


_CUSTOM = Webhook(
    Preset.CUSTOM,
    secret="",
    header="x-signature",
    algorithm=Algorithm.SHA256,
    encoding=Encoding.HEX,
    prefix="",
    tolerance_s=TOLERANCE_S,
)


def _filled(webhook: Webhook) -> Webhook:
    left_out = {it.name: getattr(_CUSTOM, it.name) for it in fields(Webhook) if getattr(webhook, it.name) is None}
    return replace(webhook, **left_out)
