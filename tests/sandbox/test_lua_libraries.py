"""base64, url, html, time, os and crypto, beside Python's own."""

import base64
import calendar
import datetime
import hashlib
import hmac
import re
import time
import uuid
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.lua_support import LuaRequest, body, failure


def said(script: str) -> str:
    """The message of the error that an expression raises."""
    return failure(f"local x = {script}").message.decode().removeprefix("main.lua:1: ")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
def test_base64_is_pythons(data: bytes) -> None:
    script = """return function(r)
      local a, b = base64.encode(r.body), base64.url_encode(r.body)
      assert(base64.decode(a) == r.body and base64.url_decode(b) == r.body)
      assert(base64.url_decode(b .. ("="):rep(-#b % 4)) == r.body)
      return a .. " " .. b
    end"""
    wanted = base64.b64encode(data) + b" " + base64.urlsafe_b64encode(data).rstrip(b"=")
    assert wanted == body(script, request=LuaRequest(body=data))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("base64.decode('ab!d')", "base64.decode: byte 3 is not a letter of the alphabet"),
        ("base64.decode('ab-_')", "base64.decode: byte 3 is not a letter of the alphabet"),
        ("base64.url_decode('ab+/')", "base64.url_decode: byte 3 is not a letter of the alphabet"),
        ("base64.decode('a=bc')", "base64.decode: byte 2 is not a letter of the alphabet"),
        ("base64.decode('YQ')", "base64.decode: wrong padding at byte 3"),
        ("base64.decode('YWI==')", "base64.decode: wrong padding at byte 4"),
        ("base64.decode('YWJj=')", "base64.decode: wrong padding at byte 5"),
        ("base64.url_decode('abcde')", "base64.url_decode: the text is cut off at byte 5"),
        ("base64.decode({})", "base64.decode needs a string, not table"),
    ],
)
def test_bad_base64_is_refused_with_its_position(script: str, message: str) -> None:
    assert message == said(script)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("url.encode('a b/ü&~')", "a%20b%2F%C3%BC%26~"),
        ("url.decode('a%20b%2f%C3%bC+100%')", "a b/ü+100%"),
        ("url.decode(url.encode('\\0\\255'))", "\0\udcff"),
        ("json.encode(url.parse('HTTPS://me:p%40ss@Example.org:8443/a/b?x=1&y#frag'))",
         '{"fragment":"frag","host":"Example.org","password":"p@ss","path":"/a/b","port":8443,"query":"x=1&y","scheme":"https","user":"me"}'),
        ("json.encode(url.parse('http://[::1]:80'))", '{"host":"::1","path":"","port":80,"scheme":"http"}'),
        ("json.encode(url.parse('/a?b'))", '{"path":"/a","query":"b"}'),
        ("json.encode(url.parse('mailto:a@b'))", '{"path":"a@b","scheme":"mailto"}'),
        ("json.encode(url.parse(''))", '{"path":""}'),
        ("json.encode(url.parse('http://h?q'))", '{"host":"h","path":"","query":"q","scheme":"http"}'),
        ("url.build{scheme = 'https', host = 'h', path = '/x', query = {b = {1, 'z'}, a = 'p q&', c = true}}",
         "https://h/x?a=p%20q%26&b=1&b=z&c=true"),
        ("url.build(url.parse('https://me:p%40ss@[::1]:8443/a?x#f'))", "https://me:p%40ss@[::1]:8443/a?x#f"),
        ("url.build{host = 'h', path = 'x'}", "//h/x"),
        ("url.build{path = '/x', query = {}}", "/x"),
        ("html.escape('<a href=\"x\">\\'&amp;')", "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;"),
        ("time.format(0)", "1970-01-01T00:00:00Z"),
        ("time.format(1709210096.7894, {ms = true})", "2024-02-29T12:34:56.789Z"),
        ("time.format(1709210096.9999, {ms = true})", "2024-02-29T12:34:57.000Z"),
        ("time.format(-1)", "1969-12-31T23:59:59Z"),
        ("tostring(time.parse('2024-02-29T12:34:56Z'))", "1709210096"),
        ("tostring(time.parse('2024-02-29t14:34:56.25+02:00'))", "1709210096.25"),
        ("tostring(time.parse('2024-02-29 07:04:56-05:30'))", "1709210096"),
        ("tostring(time.parse('0000-01-01T00:00:00Z'))", "-62167219200"),
        ("math.type(time.unix()) .. math.type(time.now())", "integerfloat"),
        ("os.date('%Y-%m-%d %H:%M:%S', 86399)", "1970-01-01 23:59:59"),
        ("os.date('!%c', 0)", "Thu Jan  1 00:00:00 1970"),
        ("os.date('%c|%x|%X|%p|%Z', 0)", "Thu Jan  1 00:00:00 1970|01/01/70|00:00:00|AM|GMT"),
        ("json.encode(os.date('*t', 0))",
         '{"day":1,"hour":0,"isdst":false,"min":0,"month":1,"sec":0,"wday":5,"yday":1,"year":1970}'),
        ("tostring(os.time{year = 2024, month = 2, day = 29})", "1709208000"),
        ("tostring(os.time{year = 2023, month = 14, day = '-1', hour = 25, min = -1, sec = 61})", "1706662801"),
        ("tostring(os.difftime(5, 3))", "2.0"),
        ("math.type(os.time()) .. math.type(os.clock())", "integerfloat"),
        ("crypto.sha256('abc')", hashlib.sha256(b"abc").hexdigest()),
        ("crypto.hmac_sha256('key', 'text')", hmac.digest(b"key", b"text", "sha256").hex()),
        ("crypto.hmac_sha256(('k'):rep(100), '')", hmac.digest(b"k" * 100, b"", "sha256").hex()),
        ("crypto.sha512('abc')", hashlib.sha512(b"abc").hexdigest()),
        ("crypto.hex('\\0\\n\\255')", "000aff"),
        ("crypto.unhex('00')", "\0"),
        ("crypto.unhex('6a6B') .. crypto.unhex('')", "jk"),
        ("json.encode{crypto.equal('ab', 'ab'), crypto.equal('a', 'b'), crypto.equal('', 'b')}", "[true,false,false]"),
        ("tostring(#crypto.random_bytes(0)) .. ' ' .. #crypto.random_bytes(65536)", "0 65536"),
        ("tostring(crypto.random_bytes(16) == crypto.random_bytes(16))", "false"),
    ],
)  # fmt: skip
def test_an_expression_gives(script: str, text: str) -> None:
    assert text.encode("utf-8", "surrogateescape") == body(f"return {{body = {script}}}")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("url.parse('http://h:x')", "url.parse: 'x' is no port"),
        ("url.parse('http://h:99999')", "url.parse: '99999' is no port"),
        ("url.build('x')", "url.build needs a table, not string"),
        ("url.build{query = {a = {{}}}}", "url.build: query.a is a table, not text"),
        ("url.build{query = {'x'}}", "url.build: a key of query is a number, not a string"),
        ("url.encode(nil)", "url.encode needs a string, not nil"),
        ("html.escape()", "html.escape needs a string, not nil"),
        ("time.parse('yesterday')", "time.parse: 'yesterday' is not like 2024-02-29T12:00:00Z"),
        ("time.parse('2024-02-29T12:00:00')", "time.parse: '2024-02-29T12:00:00' is not like 2024-02-29T12:00:00Z"),
        ("time.parse('2023-02-29T12:00:00Z')", "time.parse: there is no moment 2023-02-29T12:00:00Z"),
        ("time.parse('2023-13-01T12:00:00Z')", "time.parse: there is no moment 2023-13-01T12:00:00Z"),
        ("time.parse('2023-01-01T24:00:00Z')", "time.parse: there is no moment 2023-01-01T24:00:00Z"),
        ("time.format(0/0)", "time.format needs seconds between the years 0 and 9999"),
        ("time.format(1e15)", "time.format needs seconds between the years 0 and 9999"),
        ("os.time{year = 2024}", "field 'month' missing in date table"),
        ("os.time{year = 2024, month = 'x', day = 1}", "field 'month' is not an integer"),
        ("os.time{year = 1e17 // 1 | 0, month = 1, day = 1}", "field 'year' is out-of-bound"),
        ("os.date('%Q')", "bad argument #1 to 'date' (invalid conversion specifier '%Q')"),
        ("crypto.random_bytes(65537)", "crypto.random_bytes gives 0 to 65536 bytes, not 65537"),
        ("crypto.random_bytes(-1)", "crypto.random_bytes gives 0 to 65536 bytes, not -1"),
        ("crypto.random_bytes('x')", "crypto.random_bytes needs an integer, not string"),
        ("crypto.sha256()", "crypto.sha256 needs a string, not nil"),
        ("crypto.hmac_sha512('k')", "crypto.hmac_sha512 needs a string, not nil"),
        ("crypto.unhex('0g')", "crypto.unhex: byte 2 is not a hex digit"),
        ("crypto.unhex('012')", "crypto.unhex: 3 digits are no whole bytes"),
        ("json.decode()", "json.decode needs a string, not nil"),
        ("require()", "require needs a string, not nil"),
    ],
)
def test_misuse_is_an_error_that_says_what(script: str, message: str) -> None:
    assert message == said(script)


@settings(max_examples=60, deadline=None)
@given(st.datetimes())
def test_the_calendar_is_pythons(moment: datetime.datetime) -> None:
    moment = moment.replace(microsecond=0)
    seconds, text = calendar.timegm(moment.timetuple()), moment.isoformat() + "Z"
    script = f"return {{time.format({seconds}), time.parse('{text}'), os.date('!%Y-%m-%d', {seconds})}}"
    assert f'["{text}",{seconds},"{moment.year}-{moment:%m-%d}"]' == body(script).decode()


def test_now_is_now_in_milliseconds() -> None:
    before = time.time()
    now = float(body("return time.now()"))
    assert before - 0.002 <= now <= time.time()
    assert round(now * 1000) / 1000 == now


AA_131 = b"\xaa" * 131
LONG = (
    b"This is a test using a larger than block-size key and a larger than block-size data. "
    b"The key needs to be hashed before being used by the HMAC algorithm."
)


@pytest.mark.parametrize(
    ("key", "data", "sha256", "sha512"),
    [
        (b"\x0b" * 20, b"Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
         "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
        (b"Jefe", b"what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
        (b"\xaa" * 20, b"\xdd" * 50,
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
         "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
         "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"),
        (AA_131, b"Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
         "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
        (AA_131, LONG,
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
         "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944"
         "b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
    ],
)  # fmt: skip
def test_hmac_is_as_rfc_4231_shows_it(key: bytes, data: bytes, sha256: str, sha512: str) -> None:
    script = """return function(r)
      local key = base64.decode(r.query.key)
      return crypto.hmac_sha256(key, r.body) .. " " .. crypto.hmac_sha512(key, r.body)
    end"""
    query = urlencode({"key": base64.b64encode(key)}).encode()
    assert f"{sha256} {sha512}" == body(script, request=LuaRequest(query=query, body=data)).decode()


def test_uuid7_begins_with_the_time_and_has_its_version_and_variant() -> None:
    before = int(time.time() * 1000)
    text = body("return crypto.uuid7()").decode()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert before <= uuid.UUID(text).int >> 80 <= int(time.time() * 1000)


def test_each_uuid7_of_an_invocation_sorts_after_the_one_before() -> None:
    script = """return function()
      local last = ""
      for at = 1, 10000 do
        local next = crypto.uuid7()
        assert(last < next, at)
        last = next
      end
      return "in order"
    end"""  # more than a counter holds within a millisecond
    assert body(script) == b"in order"


def test_uuid4_is_one() -> None:
    text = body("return crypto.uuid4()").decode()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
