"""`{"files": {PATH: TEXT}}`: what is wrong is named by its field."""

import pytest

from picloud.errors import InvalidRequest
from picloud.manager.bundle import Kind
from tests.manager.bodies import read, refused

JSONS = [
    ("", "expected '{'", ""),
    ("[]", "expected '{'", ""),
    ("{}", "files: is missing", "files"),
    ('{"file": {}}', "did you mean 'files'?", "file"),
    ('{"files": []}', "files: must be an object", "files"),
    ('{"files": null}', "files: must be an object", "files"),
    ('{"files": {"main.lua": 5}}', "'main.lua': must be a string", "files.main.lua"),
    ('{"files": {"main.lua": {"a": [[[1]]]}}}', "'main.lua': must be a string", "files.main.lua"),
    ('{"files": {"main.lua": null}}', "'main.lua': must be a string", "files.main.lua"),
    ('{"files": {"main.lua": "\\ud800"}}', "half of a surrogate pair", "files.main.lua"),
    ('{"files": {"\\ud800": ""}}', "cannot be seen, or that is none", "files.\\ud800"),
    ('{"files": {"main.lua": "", "main.lua": ""}}', "it is there twice", "files.main.lua"),
    ('{"files": {"main.lua": "", "main\\u002elua": ""}}', "it is there twice", "files.main.lua"),
    ('{"files": {"main.lua": ""}, "files": {}}', "is there twice", "files"),
    ('{"files": {"main.lua": ""}, "x": 1}', "x: is not known", "x"),
    ('{"files": {"main.lua": ""}} x', "something behind its end", ""),
    ('{"files": {"main.lua": ""', "expected ','", ""),
    ('{"files": {"main.lua": "', "no JSON", ""),
    ('{"files": {"main.lua": "\n"}}', "no JSON", ""),
    ('{"files": {5: ""}}', "a path must be a string", ""),
    ('{"files": {"main.lua": "",}}', "a path must be a string", ""),
    ("[" * 100_000, "expected '{'", ""),
]


@pytest.mark.parametrize(("text", "reason", "field"), JSONS)
def test_json_that_is_no_bundle_is_refused_with_the_field(text: str, reason: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text.encode(), Kind.JSON)
    assert reason in str(caught.value)
    assert [one["field"] for one in caught.value.errors] == ([field] if field else [])


def test_json_that_is_no_utf_8_is_refused() -> None:
    assert "no UTF-8" in refused('{"files": {"main.lua": "é"}}'.encode("latin-1"), Kind.JSON)
    assert refused('{"files": {"main.lua": ""}}'.encode("utf-16"), Kind.JSON)
