"""Signatures of deliveries: the vectors of those who sign, and nothing that differs from them by one bit."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Signer

from picloud.errors import Unauthorized
from picloud.model import TOLERANCE_S, Algorithm, Encoding, Preset, Webhook
from picloud.orchestrator.webhooks import VALUES_MAX, Unusable, challenge_of, keys_of, read, verify

NOW = 1_531_420_618.0

GITHUBS = Webhook(Preset.GITHUB, "S")
STRIPES = Webhook(Preset.STRIPE, "S")
STANDARDS = Webhook(Preset.STANDARD, "S")
SLACKS = Webhook(Preset.SLACK, "S")
CUSTOM = Webhook(Preset.CUSTOM, "S").held()


@dataclass(frozen=True)
class Sent:
    """One delivery, and when it comes."""

    webhook: Webhook
    secret: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    now: float = NOW

    def id(self) -> str:
        """What it is known by; Unauthorized."""
        delivery = read(self.webhook, self.headers.items(), self.body)
        return verify(self.webhook, keys_of(self.webhook, self.secret), delivery, self.now).id

    def without(self, header: str) -> "Sent":
        return replace(self, headers={name: value for name, value in self.headers.items() if name != header})

    def having(self, **headers: str) -> "Sent":
        return replace(self, headers=self.headers | {name.replace("_", "-"): it for name, it in headers.items()})


GITHUB = Sent(  # "Validating webhook deliveries": the values to test with
    GITHUBS,
    "It's a Secret to Everybody",
    b"Hello, World!",
    {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
)
SLACK = Sent(  # "Verifying requests from Slack": its example
    SLACKS,
    "8f742231b10e8888abcd99yyyzzz85a5",
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14"
    b"d10d2c447fce8b6703c",
    {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    },
)
STANDARD = Sent(  # of the reference libraries of Standard Webhooks
    STANDARDS,
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    b'{"test": 2432232314}',
    {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    },
    now=1_614_265_330.0,
)


def hex_of(secret: str, content: bytes, algorithm: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, algorithm).hexdigest()


def stripe(body: bytes, secret: str = "whsec_test", at: int = int(NOW)) -> Sent:
    """Signed as Stripe's documentation says: HMAC-SHA-256 of time, dot and body, with the whole secret as it is."""
    return Sent(STRIPES, secret, body, {"stripe-signature": f"t={at},v1={hex_of(secret, b'%d.' % at + body)},v0=00ff"})


STRIPE = stripe(b'{"id": "evt_1NG8Du2eZvKYlo2CUI79vXWy", "object": "event"}')
EACH = [GITHUB, SLACK, STANDARD, STRIPE]


def refused(sent: Sent) -> str:
    with pytest.raises(Unauthorized) as caught:
        sent.id()
    return str(caught.value)


@pytest.mark.parametrize(
    ("sent", "known_by"),
    [
        (GITHUB, "sha256:" + hashlib.sha256(GITHUB.body).hexdigest()),
        (GITHUB.having(x_github_delivery="72d3162e-cc78-11e3"), "72d3162e-cc78-11e3"),
        (SLACK, "sha256:" + hashlib.sha256(b"v0:1531420618:" + SLACK.body).hexdigest()),
        (STANDARD, "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (STRIPE, "evt_1NG8Du2eZvKYlo2CUI79vXWy"),
    ],
)  # fmt: skip
def test_the_documented_examples_are_good(sent: Sent, known_by: str) -> None:
    assert sent.id() == known_by


@pytest.mark.parametrize("sent", EACH)
def test_every_byte_of_body_signature_and_secret_matters(sent: Sent) -> None:
    for at in range(len(sent.body)):
        wrong = sent.body[:at] + bytes([sent.body[at] ^ 1]) + sent.body[at + 1 :]
        assert "is not that of this body" in refused(replace(sent, body=wrong))
    for wrong in (sent.body + b"\n", sent.body[:-1], b""):
        assert "is not that of this body" in refused(replace(sent, body=wrong))
    (name,) = [name for name in sent.headers if "signature" in name]
    text = sent.headers[name]
    signature = re.search(r"(?<==)[0-9a-f]{64}|(?<=v1,)[A-Za-z0-9+/]{43}", text)
    assert signature
    for at in range(*signature.span()):
        other = "A" if text[at] != "A" else "B"
        for changed in (text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :]):
            assert "is not that of this body" in refused(sent.having(**{name: changed}))
    wrong_secret = sent.secret[:-1] + ("x" if sent.secret[-1] != "x" else "y")
    assert "is not that of this body" in refused(replace(sent, secret=wrong_secret))


@pytest.mark.parametrize("sent", EACH)
def test_each_header_must_be_there_and_is_named(sent: Sent) -> None:
    for name in sent.headers:
        said = refused(sent.without(name))
        assert "is missing" in said
        assert name in said.lower()
        for value in ("", "x", "é" * 8, "=", ",", "sha256=", "v0=", "v1,", "v1", "t=1", "v1=", " "):
            refused(sent.having(**{name: value}))


@pytest.mark.parametrize("sent", EACH)
def test_no_refusal_says_what_would_be_right(sent: Sent) -> None:
    right = {it for value in sent.headers.values() for it in (value, value[-64:], value[-44:])} | {sent.secret}
    told = [refused(replace(sent, body=sent.body + b" ")), refused(replace(sent, secret="b3RoZXI="))]
    assert not [one for one in right for said in told if len(one) > 8 and one in said]


@pytest.mark.parametrize("sent", [SLACK, STANDARD, STRIPE])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_time_that_is_too_far_off_is_refused_both_ways(sent: Sent, sign: int) -> None:
    assert replace(sent, now=sent.now + sign * TOLERANCE_S).id()
    assert "300 s before or after" in refused(replace(sent, now=sent.now + sign * (TOLERANCE_S + 1)))


@pytest.mark.parametrize("text", ["", "-1", "1e9", "1614265330.0", "²", "0x1", "1" * 13, " 1614265330", "now"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert "is no time in seconds" in refused(STANDARD.having(webhook_timestamp=text))
    assert "is no time in seconds" in refused(SLACK.having(x_slack_request_timestamp=text))
    assert "is no time in seconds" in refused(STRIPE.having(stripe_signature=f"t={text},v1=00".replace(" ", "x")))


def test_one_of_several_signatures_is_enough() -> None:
    right, wrong = STANDARD.headers["webhook-signature"], "v1," + base64.b64encode(bytes(32)).decode()
    for several in (f"{wrong} {right}", f"{right} {wrong}", f"v1a,abc {wrong} {right}", right.rstrip("=")):
        assert STANDARD.having(webhook_signature=several).id() == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert refused(STANDARD.having(webhook_signature=f"{wrong} {wrong}"))
    assert refused(STANDARD.having(webhook_signature=right.replace("v1,", "v2,")))
    right = STRIPE.headers["stripe-signature"]
    time, signature = right.split(",")[:2]
    assert STRIPE.having(stripe_signature=f"{time},v1={'0' * 64}, {signature}").id() == STRIPE.id()
    assert refused(STRIPE.having(stripe_signature=right.replace("v1=", "v0=")))
    assert refused(STRIPE.having(stripe_signature=time))


@pytest.mark.parametrize("sent", EACH)
def test_a_secret_of_several_lines_is_several_while_one_is_replaced(sent: Sent) -> None:
    other = "b3RoZXI="
    for value in (f"{sent.secret}\n{other}", f"{other}\n{sent.secret}\n", f"\n {other} \r\n{sent.secret}\r\n"):
        assert replace(sent, secret=value).id() == sent.id()
    assert refused(replace(sent, secret=f"{other}\n{other}"))


@pytest.mark.parametrize("webhook", [GITHUBS, SLACKS, STANDARDS, STRIPES, CUSTOM])
@pytest.mark.parametrize("value", ["", "\n", "\n".join("abcd" for _ in range(VALUES_MAX + 1))])
def test_what_nobody_can_sign_with_is_refused(webhook: Webhook, value: str) -> None:
    with pytest.raises(Unusable) as caught:
        keys_of(webhook, value)
    assert "abcd" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["whsec_", "whsec_!", "whsec_a", "not base64 at all", "ü", "=", "whsec_MfKQ\nwhsec_?"]
)
def test_a_standard_secret_is_base64(value: str) -> None:
    with pytest.raises(Unusable):
        keys_of(STANDARDS, value)


def test_a_standard_secret_may_lack_its_prefix_and_its_padding() -> None:
    assert keys_of(STANDARDS, "whsec_YWI=") == keys_of(STANDARDS, "YWI=") == keys_of(STANDARDS, "YWI") == [b"ab"]


@pytest.mark.parametrize("body", [b"", b"{}", '{"é": "日本"}'.encode(), bytes(range(256)), b"\xff" * 1000, b"a.b"])
def test_any_body_can_be_signed(body: bytes) -> None:
    for at in (0, 1, int(NOW)):
        assert replace(stripe(body, at=at), now=float(at)).id()
    headers = {"x-hub-signature-256": "sha256=" + hex_of("ü", body)}
    assert Sent(GITHUBS, "ü", body, headers).id()


def test_the_standard_package_signs_what_is_good() -> None:
    secret = "whsec_" + base64.b64encode(b"a key of the package").decode()
    for body in ("{}", '{"é": "日本"}', "not JSON"):
        signature = Signer(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW)), "webhook-signature": signature}
        assert Sent(STANDARDS, secret, body.encode(), headers).id() == "msg_1"


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("prefix", ["", "HMAC ", "v1=", "v1,"])
@pytest.mark.parametrize("is_timed", [False, True])
def test_custom_is_signed_as_it_says(algorithm: Algorithm, encoding: Encoding, prefix: str, is_timed: bool) -> None:
    webhook = replace(
        CUSTOM, header="x-mine", algorithm=algorithm, encoding=encoding, prefix=prefix, id_header="x-id",
        timestamp_header="x-time" if is_timed else None, tolerance_s=10,
    )  # fmt: skip
    content = b"1531420618.body" if is_timed else b"body"
    digest = hmac.new(b"secret", content, str(algorithm)).digest()
    text = base64.b64encode(digest).decode() if encoding is Encoding.BASE64 else digest.hex()
    sent = Sent(webhook, "secret", b"body", {"x-mine": prefix + text, "x-time": "1531420618", "x-id": "7"})
    assert sent.id() == "7"
    assert refused(replace(sent, body=b"Body"))
    late = replace(sent, now=NOW + 11)
    assert "10 s before or after" in refused(late) if is_timed else late.id()
    if prefix:
        assert f"x-mine does not begin with {prefix}" in refused(sent.having(x_mine=text))
    if encoding is Encoding.HEX:
        assert sent.having(x_mine=prefix + text.upper()).id() == "7"
    assert sent.without("x-id").id() == "sha256:" + hashlib.sha256(content).hexdigest()


def test_custom_has_defaults() -> None:
    assert Sent(CUSTOM, "s", b"body", {"x-signature": hex_of("s", b"body")}).id()


@pytest.mark.parametrize("id_", ["é", "a b", "x" * 201, "a\x00b", "\ud800", ""])
def test_an_id_that_fits_no_key_is_hashed(id_: str) -> None:
    first, again = (stripe(json.dumps({"id": id_, "n": n}).encode()) for n in (1, 2))
    assert first.id().startswith("sha256:")
    assert (first.id() == again.id()) == (id_ not in ("", "\ud800"))  # no id, or no JSON: what was signed counts


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"evt"', b'{"id": 5}', b"{", b"\xff", b"[" * 100_000])
def test_a_body_without_an_id_is_known_by_what_was_signed(body: bytes) -> None:
    assert stripe(body).id() == "sha256:" + hashlib.sha256(b"%d." % NOW + body).hexdigest()


def slack(document: object) -> Sent:
    body = json.dumps(document).encode()
    signature = "v0=" + hex_of("s", b"v0:%d:" % NOW + body)
    return Sent(SLACKS, "s", body, {"x-slack-signature": signature, "x-slack-request-timestamp": str(int(NOW))})


def test_slacks_events_have_ids_and_its_challenge_is_told_apart() -> None:
    event = slack({"type": "event_callback", "event_id": "Ev123"})
    assert event.id() == "Ev123"
    assert challenge_of(SLACKS, event.body) is None
    asked = slack({"type": "url_verification", "challenge": "3eZbrw1a"})
    assert asked.id()
    assert challenge_of(SLACKS, asked.body) == "3eZbrw1a"
    assert challenge_of(GITHUBS, asked.body) is None
    assert challenge_of(SLACKS, slack({"type": "url_verification", "challenge": 5}).body) is None


Sign = Callable[[str, bytes], Sent]


def github(secret: str, body: bytes) -> Sent:
    return Sent(GITHUBS, secret, body, {"x-hub-signature-256": "sha256=" + hex_of(secret, body)})


SIGNERS: list[Sign] = [github, lambda secret, body: stripe(body, secret)]


@given(
    secret=st.text("abc123_-äé", min_size=1, max_size=40),
    body=st.binary(min_size=1, max_size=300),
    bit=st.integers(0),
    sign=st.sampled_from(SIGNERS),
)
def test_any_body_is_good_with_its_own_signature_and_with_no_bit_flipped(
    secret: str, body: bytes, bit: int, sign: Sign
) -> None:
    sent = sign(secret, body)
    assert sent.id()
    at, flip = bit // 8 % len(body), 1 << bit % 8
    assert refused(replace(sent, body=body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]))
    ((name, value),) = sent.headers.items()
    at, flip = bit // 8 % len(value), 1 << bit % 8
    flipped = value[:at] + chr(ord(value[at]) ^ flip) + value[at + 1 :]
    if name != "stripe-signature" or at < value.index(",v0"):  # what Stripe signs beside v1 counts for nothing
        assert refused(sent.having(**{name: flipped}))
