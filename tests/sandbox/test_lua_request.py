"""What a script sees as `request`."""

import pytest

from tests.sandbox.lua_support import LuaRequest, body, failure

REQUEST = LuaRequest(
    method=b"POST",
    path=b"/fn/shop/a b",
    query=b"q=one+two&q=2&%C3%A9=%26&flag&empty=&bad=100%&=x&a=b=c",
    body=b"name=Ada+L&name=B&x=%3D",
    params={b"rest": b"a b", b"id": b"7"},
    headers={
        b"content-type": b"application/x-www-form-urlencoded; charset=utf-8",
        b"x-many": b"1, 2",
        b"cookie": b'a=1; b="two"; a=3; c; d=x=y',
    },
)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("r.method", "POST"),
        ("r.path", "/fn/shop/a b"),
        ("r.host", "example.test"),
        ("r.remote_addr", "192.0.2.1"),
        ("r.id", "0190-id"),
        ("r.trigger", "http"),
        ("r.body", "name=Ada+L&name=B&x=%3D"),
        ("r.params.rest .. r.params.id", "a b7"),
        ("r.query.q", "one two"),
        ("r.query['é']", "&"),
        ("r.query.flag .. r.query.empty", ""),
        ("r.query.bad", "100%"),
        ("r.query['']", "x"),
        ("r.query.a", "b=c"),
        ("tostring(r.query.missing)", "nil"),
        ("json.encode(r.query_all.q)", '["one two","2"]'),
        ("json.encode(r.query_all.flag)", '[""]'),
        ("r.headers['x-many']", "1, 2"),
        ("r.headers['X-Many'] .. r.headers['X-MANY']", "1, 21, 2"),
        ("tostring(r.headers.missing) .. tostring(r.headers[1])", "nilnil"),
        ("json.encode(r.cookies)", '{"a":"1","b":"two","d":"x=y"}'),
        ("json.encode((r:form()))", '{"name":"Ada L","x":"="}'),
        ("json.encode((select(2, r:form())).name)", '["Ada L","B"]'),
        ("tostring(r.event) .. tostring(r.nothing)", "nilnil"),
        ("tostring(rawequal(r, request))", "true"),
        ("tostring(rawequal(r.query, r.query))", "true"),
    ],
)
def test_a_part_of_the_request_is(expression: str, text: str) -> None:
    assert text == body(f"return function(r) return {{body = {expression}}} end", request=REQUEST).decode()


def test_query_and_headers_can_be_walked() -> None:
    script = """
    return function(r)
      local names = {}
      for name in pairs(r.query) do names[#names + 1] = name end
      for name in pairs(r.headers) do names[#names + 1] = name end
      table.sort(names)
      return names
    end
    """
    request = LuaRequest(query=b"b=1&a=2", headers={b"host": b"x"})
    assert body(script, request=request) == b'["a","b","host"]'


def test_an_event_is_decoded() -> None:
    assert body("return function(r) return r.event.data[1] end", request=LuaRequest(event=b'{"data":["x"]}')) == b"x"


def test_the_body_is_bytes() -> None:
    text = bytes(range(256))
    assert body("return function(r) return r.body end", request=LuaRequest(body=text)) == text


def test_json_null_in_the_body_is_null_and_not_an_error() -> None:
    assert body("return function(r) return tostring(r:json()) end", request=LuaRequest(body=b"null")) == b"null"


def test_a_script_that_changes_its_request_changes_only_that() -> None:
    script = "return function(r) r.body = 'x' r.query = {a = 1} return {r:json(), r.query.a} end"
    assert body(script, request=LuaRequest(body=b"5")) == b"[5,1]"


def test_a_header_sent_empty_is_empty() -> None:
    script = "return function(r) return {body = '[' .. r.headers.A .. ']'} end"
    assert body(script, request=LuaRequest(headers={b"a": b""})) == b"[]"


def test_a_form_without_content_type_is_read() -> None:
    assert body("return function(r) return (r:form()).a end", request=LuaRequest(body=b"a=1")) == b"1"


def test_an_event_that_is_no_json_is_the_scripts_error() -> None:
    message = failure("return function(r) local x = r.event end", request=LuaRequest(event=b"{")).message
    assert (
        message
        == b"main.lua:1: the event is not JSON: line 1, column 2: expected a key in quotes, found the end of the text"
    )
