"""`template`: what its tags show, that it escapes, and what it refuses with the line where it stands."""

import html
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.protocol import SCRIPT_ERROR
from tests.sandbox.lua_support import LuaRequest, body, failure

RENDER = "return function(r) return { body = template.render(r.body, json.decode(r.query.data)) } end"


def rendered(text: str, data: object) -> str:
    """A template with the data as JSON makes it."""
    query = urlencode({"data": json.dumps(data)}).encode()
    return body(RENDER, request=LuaRequest(query=query, body=text.encode())).decode()


def said(text: str, data: str = "{}", name: str = "nil") -> str:
    """The message of the error that it ends with."""
    message = failure(
        f"local text = [==[\n{text}]==]\nlocal x = template.render(text, {data}, {name})"
    ).message.decode()
    return message.partition(": ")[2]


@pytest.mark.parametrize(
    ("text", "data", "wanted"),
    [
        ("", {}, ""),
        ("plain } {", {}, "plain } {"),
        ("Hello {{name}}!", {"name": "Ada"}, "Hello Ada!"),
        ("{{ name }}{{name}}", {"name": "Ada"}, "AdaAda"),
        ("{{a-b}} {{c_1}}", {"a-b": 1, "c_1": 2}, "1 2"),
        ("{{x}}", {"x": "<a href=\"x\">'&"}, "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"),
        ("{{{x}}} {{{ x }}}", {"x": "<b>"}, "<b> <b>"),
        ("{{n}} {{f}} {{yes}} {{no}}", {"n": 3, "f": 1.5, "yes": True, "no": False}, "3 1.5 true false"),
        ("[{{missing}}{{null}}{{a.b.c}}{{n.x}}]", {"null": None, "a": {}, "n": 1}, "[]"),
        ("{{a.b.c}}", {"a": {"b": {"c": "deep"}}}, "deep"),
        ("{{! a comment\nof two lines }}x", {}, "x"),
        # sections
        ("{{#a}}yes{{/a}}", {"a": True}, "yes"),
        ("{{#a}}yes{{/a}}{{#b}}yes{{/b}}{{#c}}yes{{/c}}", {"a": False, "b": None}, ""),
        ("{{#a}}yes{{/a}}{{#b}}yes{{/b}}{{#c}}yes{{/c}}", {"a": "", "b": [], "c": {}}, ""),
        ("{{#a}}yes{{/a}}{{#b}}yes{{/b}}", {"a": 0, "b": "0"}, "yesyes"),
        ("{{^a}}no{{/a}}{{^b}}no{{/b}}{{^c}}no{{/c}}", {"a": False, "b": [], "c": 1}, "nono"),
        ("{{#a}}some{{/a}}{{^a}}none{{/a}}", {"a": ["x"]}, "some"),
        ("{{#a}}{{x}} {{/a}}", {"a": [{"x": 1}, {"x": 2}]}, "1 2 "),
        ("{{#a}}<{{.}}>{{/a}}", {"a": ["<", 2, True]}, "<&lt;><2><true>"),
        ("{{#a}}{{#.}}{{.}},{{/.}};{{/a}}", {"a": [[1, 2], [3]]}, "1,2,;3,;"),
        ("{{#name}}Dear {{.}}{{/name}}", {"name": "Ada"}, "Dear Ada"),
        ("{{#user}}{{name}} of {{site}}{{/user}}", {"user": {"name": "Ada"}, "site": "here"}, "Ada of here"),
        ("{{#a}}{{x}}{{#b}}{{x}}{{/b}}{{x}}{{/a}}", {"a": {"x": 1, "b": {"x": 2}}}, "121"),
        ("{{#a.b}}{{c}}{{/a.b}}", {"a": {"b": {"c": 1}}}, "1"),
        ("{{#a}}{{b.c}}{{/a}}", {"a": {"b": {}}, "b": {"c": "outer"}}, ""),  # it is broken
        ("{{#a}}{{#b}}{{x}}{{y}} {{/b}}{{/a}}", {"a": [{"x": 1, "b": [{"y": 2}, {"y": 3}]}]}, "12 13 "),
        # a tag that shows nothing, alone on its line, is a line less
        ("<ul>\n{{#a}}\n  <li>{{.}}\n{{/a}}\n</ul>", {"a": [1, 2]}, "<ul>\n  <li>1\n  <li>2\n</ul>"),
        ("a\n  {{! x }}  \nb", {}, "a\nb"),
        ("a\r\n{{#x}}\r\nb\r\n{{/x}}", {"x": 1}, "a\r\nb\r\n"),
        ("  {{x}}  \n", {"x": 1}, "  1  \n"),
        (" {{#x}} {{/x}} \n", {"x": 1}, "   \n"),
    ],
)  # fmt: skip
def test_a_template_shows(text: str, data: object, wanted: str) -> None:
    assert rendered(text, data) == wanted


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_a_value_is_text_and_never_a_tag_or_markup(value: str) -> None:
    wanted = html.escape(value).replace("&#x27;", "&#39;")
    assert rendered("<p title='{{x}}'>{{x}}</p>{{{x}}}", {"x": value}) == f"<p title='{wanted}'>{wanted}</p>{value}"


def test_a_value_that_looks_like_a_template_or_like_lua_is_shown() -> None:
    hostile = "{{{secret}}} {{#a}} %s %1 ]] os.exit() {{/a}}"
    assert rendered("{{{x}}}", {"x": hostile, "secret": "!"}) == hostile
    assert rendered("{{#a}}{{{.}}}{{/a}}", {"a": [hostile]}) == hostile


@settings(max_examples=150, deadline=None)
@given(st.text("{}#^/!.ab \n", max_size=30))
def test_any_text_is_a_template_or_an_error_of_the_scripts(text: str) -> None:
    script = "return function(r) return tostring(pcall(template.render, r.body, { a = { 1, { b = 2 } } })) end"
    assert body(script, request=LuaRequest(body=text.encode())) in (b"true", b"false")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{#items}}\nb", "template:2: {{#items}} is not closed"),
        ("{{#a}}\n{{#b}}\n{{/a}}", "template:3: {{/a}} closes nothing: {{#b}} is open"),
        ("\n\n{{/a}}", "template:3: {{/a}} closes nothing"),
        ("a\n{{name\nb", "template:2: '}}' is missing after {{name"),
        ("{{{name}}", "template:1: '}}}' is missing after {{{name}}"),
        ("{{}}", "template:1: {{}} is no tag: a name has letters, digits, '_' and '-', and dots between"),
        ("{{a b}}", "template:1: {{a b}} is no tag: a name has letters, digits, '_' and '-', and dots between"),
        ("{{a..b}}", "template:1: {{a..b}} is no tag: a name has letters, digits, '_' and '-', and dots between"),
        ("{{> part}}", "template:1: {{> part}} is no tag: a name has letters, digits, '_' and '-', and dots between"),
        ("{{&x}}", "template:1: {{&x}} is no tag: a name has letters, digits, '_' and '-', and dots between"),
        ("{{" + "x" * 99, "template:1: '}}' is missing after {{" + "x" * 58 + "…"),
        ("{{#a}}" * 33, "template:1: more than 32 sections are open"),
    ],
)
def test_a_mistake_is_an_error_with_its_line(text: str, message: str) -> None:
    assert said(text) == message


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        ("a\n{{x}}", "{ x = {} }", "template:2: {{x}} is a table, not text"),
        ("{{{x}}}", "{ x = print }", "template:1: {{{x}}} is a function, not text"),
        ("{{#a}}\n{{.}}{{/a}}", "{ a = { {} } }", "template:2: {{.}} is a table, not text"),
        ("x", "nil", "template needs a table of values, not nil"),
        ("x", "'y'", "template needs a table of values, not string"),
    ],
)
def test_a_value_that_cannot_be_shown_is_an_error_with_the_tags_line(text: str, data: str, message: str) -> None:
    assert said(text, data) == message


def test_errors_name_the_template_if_it_has_a_name() -> None:
    assert said("{{x", "{}", "'page.html'") == "page.html:1: '}}' is missing after {{x"


def test_a_template_is_compiled_once_and_shown_often() -> None:
    script = """
      local show = template.compile("{{#list}}{{.}}{{/list}}{{^list}}-{{/list}}")
      return show{ list = { 1, 2 } } .. show{} .. show{ list = json.array{} } .. show{ list = { 3 } }"""
    assert body(script) == b"12--3"


def test_values_may_come_from_metatables_and_holes_are_nothing() -> None:
    request = LuaRequest(query=b"name=%3Cb%3E")
    assert body("return template.render('{{query.name}}', request)", request=request) == b"&lt;b&gt;"
    script = "return template.render('{{#a}}[{{.}}]{{/a}}', { a = { 1, nil, 3 } })"
    assert body(script) == b"[1][3]"


def test_a_list_that_contains_itself_goes_as_deep_as_the_template() -> None:
    script = "local a = { 'x' } a[2] = a a.a = a return template.render('{{#a}}{{#.}}{{#a}}.{{/a}}{{/.}}{{/a}}', a)"
    assert body(script) == b"." * 6


def test_what_a_script_does_to_the_libraries_changes_nothing() -> None:
    script = """
      html.escape, string.gsub, string.find, table.concat = nil, nil, nil, nil
      return template.render("{{x}}", { x = "<" })"""
    assert body(script) == b"&lt;"


@pytest.mark.parametrize("expression", ["template.compile()", "template.render({}, {})", "template.compile('', {})"])
def test_misuse_is_an_error(expression: str) -> None:
    result = failure(f"local x = {expression}")
    assert result.kind == SCRIPT_ERROR
    assert b"needs a string, not" in result.message
