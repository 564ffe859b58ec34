"""JSON Web Tokens: what `crypto.jwt_sign` makes, and what `crypto.jwt_verify` believes."""

import base64
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.sandbox.lua_support import LuaRequest, body, failure

KEY = b"0123456789abcdef0123456789abcdef"
HS256 = {"alg": "HS256", "typ": "JWT"}
NOW = int(time.time())
FAR = 10**6  # s; no test takes that long

# RFC 7515, appendix A.1: the key, and the token with its line feeds
RFC_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)


def part(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header: object, claims: object, key: bytes = KEY) -> str:
    """A token with a right signature, whatever it says."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.digest(key, text.encode(), 'sha256'))}"


def verified(token: str, options: str = "{}", key: str = "r.query.key") -> Any:
    """The claims; or why not, as text."""
    script = f"""return function(r)
      local claims, reason = crypto.jwt_verify(r.query.token, {key}, {options})
      return {{ body = json.encode(claims or reason) }}
    end"""
    query = urlencode({"token": token, "key": KEY}).encode()
    return json.loads(body(script, request=LuaRequest(query=query)))


def said(expression: str) -> str:
    """The message of the error that it raises."""
    message = failure(f"local key = ('k'):rep(32)\nlocal x = {expression}").message.decode()
    assert message.startswith("main.lua:2: ")
    return message.removeprefix("main.lua:2: ")


def test_the_token_of_rfc_7515_is_believed_if_its_end_in_2011_is_forgiven() -> None:
    key = f"base64.url_decode('{RFC_KEY}')"
    claims = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert verified(RFC_TOKEN, "{ leeway = 1e10, iss = 'joe' }", key) == claims
    assert verified(RFC_TOKEN, "{}", key) == "it has expired"


def test_what_is_signed_here_is_what_others_would_sign() -> None:
    script = f"return crypto.jwt_sign({{ sub = 'ada', admin = true, exp = 1.5, list = {{ 1 }} }}, '{KEY.decode()}')"
    claims = b'{"admin":true,"exp":1.5,"list":[1],"sub":"ada"}'
    assert body(script).decode() == signed(b'{"alg":"HS256","typ":"JWT"}', claims)


def test_what_is_signed_here_is_believed_here() -> None:
    script = """
      local key = crypto.random_bytes(32)
      local claims = { aud = { "a", "b" }, iss = "me", exp = time.unix() + 60, iat = time.unix(), sub = "ada" }
      local token = crypto.jwt_sign(claims, key)
      return crypto.jwt_verify(token, key, { aud = "b", iss = "me" }).sub"""
    assert body(script) == b"ada"


@pytest.mark.parametrize("algorithm", ["none", "None", "hs256", "RS256", "HS512", "", ["HS256"], None, 256])
def test_every_other_algorithm_is_refused_with_a_right_signature_and_with_none(algorithm: object) -> None:
    token = signed({"alg": algorithm}, {"sub": "ada"})
    unsigned = token.rpartition(".")[0] + "."
    assert (verified(token), verified(unsigned)) == ("its algorithm is not HS256",) * 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "its algorithm is not HS256"),
        (HS256 | {"crit": ["b64"], "b64": False}, "its header has 'crit', which asks for more than is understood here"),
        ([], "it is no token"),
        (None, "it is no token"),
        (b"\xff", "it is no token"),
    ],
)
def test_another_header_is_refused(header: object, reason: str) -> None:
    assert verified(signed(header, {"sub": "ada"})) == reason


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b", "a.b.c.d", "a.b.c", " " + RFC_TOKEN, RFC_TOKEN + "\n", RFC_TOKEN.replace("_", "/"), "é.a.a"],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert verified(token) == "it is no token"


def test_no_token_at_all_is_refused_and_no_mistake() -> None:
    assert body("local claims, reason = crypto.jwt_verify(nil, ('k'):rep(32)) return reason") == b"there is no token"


def test_a_token_without_end_is_not_read() -> None:
    script = "local _, why = crypto.jwt_verify(('a'):rep(65537), ('k'):rep(32)) return why"
    assert body(script) == b"it has more than 65536 bytes"


def test_each_bit_of_the_signature_counts() -> None:
    token = signed(HS256, {"sub": "ada"})
    assert verified(token) == {"sub": "ada"}
    head, _, signature = token.rpartition(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters[letters.index(signature[-1]) ^ 1]  # a bit that base64 ignores
    changed = [
        signature[:-1] + last,
        signature[1:],
        signature + "A",
        "",
        ("A" if signature[0] != "A" else "B") + signature[1:],
    ]
    assert {verified(f"{head}.{it}") for it in changed} == {"its signature is wrong"}


def test_another_key_and_other_claims_are_refused() -> None:
    token = signed(HS256, {"sub": "ada"})
    assert verified(token, key="('k'):rep(32)") == "its signature is wrong"
    head, _, signature = token.split(".")
    assert verified(f"{head}.{part({'sub': 'root'})}.{signature}") == "its signature is wrong"


@pytest.mark.parametrize(
    ("claims", "options", "reason"),
    [
        ({"exp": NOW - FAR}, "{}", "it has expired"),
        ({"exp": NOW - FAR}, f"{{ leeway = {2 * FAR} }}", None),
        ({"exp": NOW + FAR}, "{}", None),
        ({"exp": NOW + FAR + 0.5}, "{}", None),
        ({"exp": -1e300}, "{}", "it has expired"),
        ({"nbf": NOW + FAR}, "{}", "it is not valid yet"),
        ({"nbf": NOW + FAR}, f"{{ leeway = {2 * FAR} }}", None),
        ({"nbf": NOW - FAR}, "{}", None),
        ({"iat": NOW + FAR}, "{}", "it was issued in the future"),
        ({"iat": NOW + FAR}, f"{{ leeway = {2 * FAR} }}", None),
        ({"iat": NOW - FAR}, "{}", None),
        ({"exp": str(NOW + FAR)}, "{}", "its claim 'exp' is not a number"),
        ({"exp": None}, "{}", "its claim 'exp' is not a number"),
        ({"exp": False}, "{}", "its claim 'exp' is not a number"),
        ({"nbf": [1]}, "{}", "its claim 'nbf' is not a number"),
        ({"iat": {}}, "{}", "its claim 'iat' is not a number"),
        ({"iss": "me"}, "{ iss = 'me' }", None),
        ({"iss": "me"}, "{}", None),
        ({"iss": "me"}, "{ iss = 'you' }", "its issuer is not 'you'"),
        ({"iss": ["me"]}, "{ iss = 'me' }", "its issuer is not 'me'"),
        ({}, "{ iss = 'me' }", "its issuer is not 'me'"),
        ({"aud": "app"}, "{ aud = 'app' }", None),
        ({"aud": ["web", "app"]}, "{ aud = 'app' }", None),
        ({"aud": "app"}, "{ aud = 'web' }", "its audience is not 'web'"),
        ({"aud": []}, "{ aud = 'web' }", "its audience is not 'web'"),
        ({"aud": {"web": "web"}}, "{ aud = 'web' }", "its audience is not 'web'"),
        ({"aud": 1}, "{ aud = '1' }", "its audience is not '1'"),
        ({}, "{ aud = 'web' }", "its audience is not 'web'"),
        ({"aud": "app"}, "{}", "it is for an audience, and none is expected"),
        ({"aud": None}, "{}", "it is for an audience, and none is expected"),
    ],
)  # fmt: skip
def test_claims_are_held_to_what_is_expected(claims: dict[str, object], options: str, reason: str | None) -> None:
    assert verified(signed(HS256, claims), options) == (reason or claims)


@pytest.mark.parametrize("claims", [b"[]", b"1", b"null", b"no json", b"\xff", b'"text"'])
def test_claims_that_are_no_object_are_refused(claims: bytes) -> None:
    assert verified(signed(HS256, claims)) == "its claims are no JSON object"


@pytest.mark.parametrize("kind", ["sign({}", "verify('a.b.c'"])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("''", "the key has 0 bytes; HS256 takes 32 or more, all random"),
        ("('k'):rep(31)", "the key has 31 bytes; HS256 takes 32 or more, all random"),
        ("env.NOT_SET", "key needs a string, not nil"),
    ],
)
def test_a_key_that_protects_nothing_is_refused(kind: str, key: str, message: str) -> None:
    name = kind.partition("(")[0]
    assert said(f"crypto.jwt_{kind}, {key})") == f"crypto.jwt_{name}: {message}"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("crypto.jwt_sign('ada', key)", "crypto.jwt_sign needs a table of claims, not string"),
        ("crypto.jwt_sign({ 'ada' }, key)", "crypto.jwt_sign: claims have names; this is a list"),
        ("crypto.jwt_sign({ f = print }, key)", "crypto.jwt_sign: $.f: a function cannot be JSON"),
        ("crypto.jwt_sign({ exp = '1' }, key)", "crypto.jwt_sign: exp must be seconds since 1970, not a string"),
        ("crypto.jwt_verify('a', key, 'me')", "crypto.jwt_verify needs a table of options, not string"),
        ("crypto.jwt_verify('a', key, { issuer = 'me' })", "crypto.jwt_verify: there is no option 'issuer'"),
        ("crypto.jwt_verify('a', key, { iss = {} })", "crypto.jwt_verify: iss needs a string, not table"),
        ("crypto.jwt_verify('a', key, { aud = false })", "crypto.jwt_verify: aud needs a string, not boolean"),
        ("crypto.jwt_verify({}, key)", "crypto.jwt_verify: token needs a string, not table"),
    ],
)  # fmt: skip
def test_misuse_is_an_error_that_says_what(expression: str, message: str) -> None:
    assert said(expression) == message


@pytest.mark.parametrize("leeway", ["-1", "1/0", "0/0", "'1'", "{}"])
def test_a_leeway_that_is_no_time_is_an_error(leeway: str) -> None:
    wanted = "crypto.jwt_verify: leeway must be a number of seconds, 0 or more"
    assert said(f"crypto.jwt_verify('a', key, {{ leeway = {leeway} }})") == wanted


def test_what_a_script_does_to_the_libraries_changes_nothing() -> None:
    script = """
      local key, sign, verify = ("k"):rep(32), crypto.jwt_sign, crypto.jwt_verify
      local token = sign({ sub = "ada" }, key)
      crypto.equal, base64.url_decode, base64.url_encode, json.decode = nil, nil, nil, nil
      string.match, math.huge = nil, 0
      local _, reason = verify(token .. "A", key)
      return verify(token, key).sub .. ": " .. reason"""
    assert body(script) == b"ada: its signature is wrong"
