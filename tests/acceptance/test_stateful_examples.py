"""The examples that keep something, or ask others, do what they say."""

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from tests.acceptance.test_examples import FORM, deploy, post_json
from tests.running import Answer, Running, eventually, running

FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>News &amp; more</title><link>x</link>
<item><title><![CDATA[A <b> & c]]></title><link>http://e.example/1</link><pubDate>Mon, 23 Nov 2026</pubDate></item>
<item><title>&lt;two&gt; &#233;&#x1F600; &unknown;</title></item></channel></rss>"""


class Feed:
    """A server whose answer a test chooses; counts who asks."""

    def __init__(self) -> None:
        feed = self
        self.status, self.text, self.asked = 200, FEED, 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                feed.asked += 1
                body = feed.text.encode()
                self.send_response(feed.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/feed.xml"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One whose scripts may call this machine."""
    with running(tmp_path_factory.mktemp("examples"), PICLOUD_PRIVATE_HOSTS="127.0.0.1") as picloud:
        yield picloud


def fresh(picloud: Running, name: str) -> None:
    """Deploy an example that has kept nothing yet."""
    picloud.api("DELETE", f"scripts/{name}")
    deploy(picloud, name)


def shorten(picloud: Running, address: str, key: str = "") -> Answer:
    return picloud.call("POST", "/fn/shortener", address.encode(), {"x-key": key})


def test_shortener_sends_to_where_it_was_told_and_counts(ours: Running) -> None:
    fresh(ours, "shortener")
    answer = shorten(ours, " https://example.org/a?b=c#d\n")
    short = answer.header("location")
    assert short is not None
    assert (answer.status, answer.body) == (201, f"{short}\n".encode())
    for _ in range(3):
        sent = ours.call("GET", short)
        assert (sent.status, sent.header("location")) == (302, "https://example.org/a?b=c#d")
    assert ours.call("GET", f"{short}/hits").json["hits"] == 3
    assert shorten(ours, "https://example.org/a?b=c#d").header("location") != short


@pytest.mark.parametrize(
    "address", ["", "javascript:alert(1)", "https://", "http://a b", "ftp://x", "http://" + 2000 * "x"]
)
def test_shortener_takes_addresses_of_the_web_alone(ours: Running, address: str) -> None:
    fresh(ours, "shortener")
    assert shorten(ours, address).status == 422
    assert ours.call("GET", "/fn/shortener/unknown").status == 404
    assert ours.call("DELETE", "/fn/shortener").header("allow") == "GET, HEAD, POST"


def test_shortener_with_a_key_takes_addresses_of_who_has_it(ours: Running) -> None:
    fresh(ours, "shortener")
    ours.set("shortener", {"env": {"KEY": "k"}})
    assert [shorten(ours, "http://e.example", key).status for key in ("", "K", "k")] == [401, 401, 201]


def test_hits_count_each_page_exactly(ours: Running) -> None:
    fresh(ours, "hits")
    answers = ours.at_once(8, "GET", "/fn/hits/blog/first")
    assert sorted(answer.json["total"] for answer in answers) == list(range(1, 9))
    assert ours.call("GET", "/fn/hits/blog/second").json == {"page": "blog/second", "today": 1, "total": 1}
    picture = ours.call("GET", "/fn/hits/blog/first.svg")
    assert picture.header("content-type") == "image/svg+xml"
    assert ElementTree.fromstring(picture.body).get("aria-label") == "9 visits"
    assert ours.call("GET", "/fn/hits/" + 201 * "x").status == 414


def sign(picloud: Running, **fields: str) -> Answer:
    return picloud.call("POST", "/fn/guestbook", urlencode(fields).encode(), FORM)


def test_guestbook_shows_the_newest_first_and_escapes_it(ours: Running) -> None:
    fresh(ours, "guestbook")
    for name in ("Ada", "<Zoë>"):
        signed = sign(ours, name=name, text='"Hi" & bye')
        assert (signed.status, signed.header("location")) == (303, "?")
    shown = ours.call("GET", "/fn/guestbook").body.decode()
    assert shown.index("<h2>&lt;Zoë&gt;</h2>") < shown.index("<h2>Ada</h2>")
    assert "&quot;Hi&quot; &amp; bye" in shown


def test_guestbook_keeps_nothing_that_is_wrong_nor_of_machines(ours: Running) -> None:
    fresh(ours, "guestbook")
    assert b"your name is missing" in sign(ours, name=" ", text="x").body
    assert b"your text has more than 500 characters" in sign(ours, name="A", text=501 * "x").body
    assert sign(ours, name="Bot", text="Buy!", website="http://spam.example").status == 303
    assert b"<article>" not in ours.call("GET", "/fn/guestbook").body


def test_feed_is_read_once_and_kept(ours: Running) -> None:
    fresh(ours, "feed")
    feed = Feed()
    with feed.serving():
        ours.set("feed", {"env": {"FEED_URL": feed.url}})
        answers = [ours.call("GET", "/fn/feed") for _ in range(2)]
    assert [answer.json for answer in answers] == 2 * [{
        "title": "News & more",
        "items": [
            {"title": "A <b> & c", "link": "http://e.example/1", "date": "Mon, 23 Nov 2026"},
            {"title": "<two> é😀 &unknown;"},
        ],
    }]  # fmt: skip
    assert feed.asked == 1


@pytest.mark.parametrize(("status", "text"), [(500, FEED), (200, "<html>")])
def test_feed_that_cannot_be_had_is_said(ours: Running, status: int, text: str) -> None:
    fresh(ours, "feed")
    assert "FEED_URL is not set" in ours.call("GET", "/fn/feed").json["detail"]
    feed = Feed()
    feed.status, feed.text = status, text
    with feed.serving():
        ours.set("feed", {"env": {"FEED_URL": feed.url}})
        assert ours.call("GET", "/fn/feed").status == 502


@pytest.fixture
def signing_key(ours: Running) -> bytes:
    assert ours.api("PUT", "secrets/SLACK_SIGNING_SECRET", {"value": "8f742231b10e"}).status in (200, 201)
    return b"8f742231b10e"


def ask(picloud: Running, key: bytes, text: str, team: str = "T1", age_s: int = 0) -> Answer:
    body = urlencode({"team_id": team, "text": text}).encode()
    sent_at = str(int(time.time()) - age_s)
    signature = "v0=" + hmac.new(key, f"v0:{sent_at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {**FORM, "x-slack-request-timestamp": sent_at, "x-slack-signature": signature}
    return picloud.call("POST", "/fn/chatbot", body, headers)


def test_chatbot_remembers_for_each_team(ours: Running, signing_key: bytes) -> None:
    fresh(ours, "chatbot")
    ours.set("chatbot", {"secrets": ["SLACK_SIGNING_SECRET"]})
    said = [
        ask(ours, signing_key, text, team).json["text"]
        for team, text in (
            ("T1", ""), ("T1", "remember Wifi is on the fridge"), ("T1", "wifi"), ("T2", "wifi"), ("T1", "list"),
            ("T1", "forget wifi"), ("T1", "forget wifi"), ("T1", "remember nothing"),
        )
    ]  # fmt: skip
    assert said == [
        "I know nothing yet", "I will remember Wifi", "wifi is on the fridge", "I do not know wifi", "I know wifi",
        "Forgotten", "I did not know that", "Tell me what: `remember wifi is on the fridge`",
    ]  # fmt: skip


def test_chatbot_believes_what_is_signed_now(ours: Running, signing_key: bytes) -> None:
    fresh(ours, "chatbot")
    ours.set("chatbot", {"secrets": ["SLACK_SIGNING_SECRET"]})
    assert ask(ours, signing_key, "list").status == 200
    assert ask(ours, signing_key, "list", age_s=400).status == 401
    assert ask(ours, signing_key, "list", age_s=-400).status == 401
    assert ask(ours, b"a guess", "list").status == 401
    assert ours.call("POST", "/fn/chatbot", b"text=list", FORM).status == 401


def test_pushes_counts_what_is_pushed_and_takes_nothing_unsigned(ours: Running) -> None:
    push = b'{"ref": "refs/heads/main", "repository": {"full_name": "a/b"}, "commits": [{}]}'
    signature = "sha256=" + hmac.new(b"s3cret", push, hashlib.sha256).hexdigest()
    headers = {"x-github-event": "push", "x-github-delivery": "1", "x-hub-signature-256": signature}
    fresh(ours, "pushes")
    assert ours.api("PUT", "secrets/PUSHES_SECRET", {"value": "s3cret"}).status in (200, 201)
    webhook = ours.api("GET", "scripts/pushes/settings").json["webhook"]
    assert ours.call("POST", "/fn/pushes", push, headers | {"x-hub-signature-256": "sha256=00"}).status == 401
    ours.set("pushes", {})  # as its job sees it
    assert [ours.call("POST", "/fn/pushes", push, headers).json["pushes"] for _ in range(2)] == [1, 2]
    assert ours.call("POST", "/fn/pushes", b'{"zen": "Keep it."}', {"x-github-event": "ping"}).body == b"pong"
    assert ours.call("POST", "/fn/pushes", b"{}", {"x-github-event": "star"}).status == 204
    ours.set("pushes", {"webhook": webhook})
    first, again = (ours.call("POST", "/fn/pushes", push, headers) for _ in range(2))
    assert (first.status, again.status, first.json == again.json) == (202, 202, True)


def test_stock_counts_what_orders_tells_it(ours: Running) -> None:
    fresh(ours, "stock")
    fresh(ours, "orders")
    for item, count in (("tea", 2), ("cup", 1), ("tea", 3)):
        answer = post_json(ours, "/orders", {"item": item, "count": count})
        assert (answer.status, answer.json["item"], answer.json["count"]) == (201, item, count)
    for wrong in ({}, {"item": "Tea!", "count": 1}, {"item": "tea", "count": 0}, {"item": "tea", "count": 1.5}):
        assert post_json(ours, "/orders", wrong).status == 422
    counts = eventually(lambda: ours.call("GET", "/stock").json, lambda got: sum(got.values()) >= 6)
    assert counts == {"tea": 5, "cup": 1}


def test_watch_looks_when_its_schedule_says_and_tells_of_what_changed(ours: Running) -> None:
    fresh(ours, "watch")
    (own,) = ours.api("GET", "schedules?script=watch").json["items"]
    assert (own["name"], own["origin"], own["cron"], own["missed"]) == ("watch", "bundle", "*/5 * * * *", "skip")
    page = Feed()

    def seen() -> object:
        return ours.call("GET", "/fn/watch").json["pages"][0].get("up")

    with page.serving():
        ours.set("watch", {"env": {"PAGES": page.url}})
        assert (seen(), page.asked) == (None, 0)
        often = {"script": "watch", "cron": "* * * * * *"}  # nobody waits for five minutes
        assert ours.api("PUT", "schedules/watch-often", often).status == 201
        eventually(seen, lambda up: up is True)
        page.status = 503
        eventually(seen, lambda up: up is False)
        page.status = 200
        eventually(seen, lambda up: up is True)
        assert ours.api("DELETE", "schedules/watch-often").status == 204
        told = ours.api("GET", "events?type=page.*").json["items"]
        assert {(event["type"], event["subject"]) for event in told} == {("page.up", page.url), ("page.down", page.url)}
        eventually(lambda: ours.api("GET", "schedules/watch-often/slots?state=queued").json["items"], lambda it: not it)
