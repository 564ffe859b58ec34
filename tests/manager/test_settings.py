"""A script's settings: what may be set, and how a change is merged."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picloud.errors import InvalidRequest
from picloud.manager.settings import SettingsPatch, SettingsRules
from picloud.model import DEFAULT_POLICY, Limits, Policy

RULES = SettingsRules(DEFAULT_POLICY)


def patched(stored: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    return dict(RULES.change(msgspec.convert(patch, SettingsPatch))(stored))


def refused(patch: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[object, object]:
    with pytest.raises(InvalidRequest) as caught:
        patched(stored or {}, patch)
    return {one["field"]: one["message"] for one in caught.value.errors}


@pytest.mark.parametrize(
    ("stored", "patch", "merged"),
    [
        ({}, {}, {}),
        ({}, {"access": "token"}, {"access": "token"}),
        ({"access": "token"}, {"access": None}, {}),
        ({"access": "token"}, {"expose_errors": False}, {"access": "token", "expose_errors": False}),
        ({"limits": {"wall_ms": 1, "cpu_ms": 2}}, {"limits": {"wall_ms": 3}}, {"limits": {"wall_ms": 3, "cpu_ms": 2}}),
        ({"limits": {"wall_ms": 1, "cpu_ms": 2}}, {"limits": {"wall_ms": None}}, {"limits": {"cpu_ms": 2}}),
        ({"limits": {"wall_ms": 1}}, {"limits": None}, {}),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"A": None, "C": "3"}}, {"env": {"B": "2", "C": "3"}}),
        ({"env": {"A": "1"}}, {"env": None}, {}),
        ({}, {"env": {"A": None}}, {"env": {}}),
        ({"cors": {"origins": ["*"], "max_age": 5}}, {"cors": {"max_age": None}}, {"cors": {"origins": ["*"]}}),
        ({"cors": {"origins": ["*"]}}, {"cors": None}, {}),
        ({}, {"cors": {}}, {"cors": {}}),
        ({"retry": {"backoff_ms": 5}}, {"retry": {"max_attempts": 9}}, {"retry": {"backoff_ms": 5, "max_attempts": 9}}),
        ({"retry": {"backoff_ms": 5}}, {"retry": None}, {}),
        (
            {},
            {"allow_hosts": ["API.example.org.", "api.example.org", "*.B.org:80"]},
            {"allow_hosts": ["api.example.org", "*.b.org:80"]},
        ),
        ({"allow_hosts": ["a.org", "b.org"]}, {"allow_hosts": ["c.org"]}, {"allow_hosts": ["c.org"]}),
        ({"allow_hosts": ["a.org"]}, {"allow_hosts": []}, {"allow_hosts": []}),
        ({"allow_hosts": ["a.org"]}, {"allow_hosts": None}, {}),
    ],
)
def test_a_change_names_what_changes_and_null_is_back_to_the_default(
    stored: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert patched(stored, patch) == merged


patches = st.fixed_dictionaries(
    {},
    optional={
        "expose_errors": st.none() | st.booleans(),
        "access": st.none() | st.sampled_from(["public", "token"]),
        "env": st.none() | st.dictionaries(st.sampled_from("ABC"), st.none() | st.text("xyz=", max_size=3), max_size=3),
        "limits": st.none()
        | st.fixed_dictionaries({}, optional={"wall_ms": st.none() | st.integers(1, 9), "cpu_ms": st.integers(1, 9)}),
    },
)


def rfc_7396(target: Any, patch: Any) -> Any:
    """MergePatch, as section 2 has it."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = rfc_7396(target.get(name), value)
    return target


@given(st.lists(patches, max_size=4))
def test_changes_merge_as_rfc_7396_says(changes: list[dict[str, Any]]) -> None:
    stored: dict[str, Any] = {}
    for patch in changes:
        expected = rfc_7396(stored, patch)
        stored = patched(stored, patch)
        assert stored == expected


@pytest.mark.parametrize("name", Limits.__dataclass_fields__)
def test_no_limit_goes_over_the_operators_maximum(name: str) -> None:
    most = getattr(DEFAULT_POLICY.maxima, name)
    assert patched({}, {"limits": {name: most}}) == {"limits": {name: most}}
    assert refused({"limits": {name: most + 1}}) == {
        f"limits.{name}": f"at most {most}, which is this server's {name}_max"
    }


def test_everything_that_is_wrong_is_named_at_once() -> None:
    patch = {
        "limits": {"wall_ms": 10**9, "concurrency": 10**30},
        "env": {"1": "x", "a b": "y"},
        "cors": {"origins": ["x"]},
        "allow_hosts": ["a.org", "*"],
    }
    assert set(refused(patch)) == {
        "limits.wall_ms",
        "limits.concurrency",
        "env.1",
        "env.a b",
        "cors.origins[0]",
        "allow_hosts[1]",
    }


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "Ä", "A" * 65, "A\n", "A=B"])
def test_a_name_that_no_variable_may_have_is_refused(name: str) -> None:
    assert list(refused({"env": {name: "x"}})) == [f"env.{name[:80]}"]


@pytest.mark.parametrize("name", ["A", "_", "a1_B", "A" * 64])
def test_a_name_that_a_variable_may_have_is_taken(name: str) -> None:
    assert patched({}, {"env": {name: "ä\n=\t"}}) == {"env": {name: "ä\n=\t"}}


def test_variables_are_bounded_together_with_what_is_there() -> None:
    stored = {"env": {f"V{number}": "x" for number in range(64)}}
    assert "65 variables are more than the 64" in str(refused({"env": {"ONE": "more"}}, stored)["env"])
    assert len(patched(stored, {"env": {"ONE": "more", "V0": None}})["env"]) == 64
    assert "65537 bytes" in str(refused({"env": {"A": "x" * (64 * 1024)}})["env"])
    assert patched({}, {"env": {"A": "x" * (64 * 1024 - 1)}})
    assert refused({"env": {"A": "a\0b"}}) == {"env.A": "must not have a zero byte"}


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("*", "*"),
        ("https://example.org", "https://example.org"),
        ("HTTPS://Example.ORG", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_is_kept_as_a_browser_sends_it(given_: str, stored: str) -> None:
    assert patched({}, {"cors": {"origins": [given_, given_]}}) == {"cors": {"origins": [stored]}}


@pytest.mark.parametrize(
    "origin",
    ["", "example.org", "null", "https://", "https://example.org/", "https://example.org/a", "https://*.example.org",
     "https://u@example.org", "https://example.org:", "https://example.org:0", "https://example.org:65536",
     "https://example.org?x", "https://münchen.example", "https://a b", "https://a\n", "http://[::1", "http://[1::2::3]",
     "1http://a", "https://-a.example", "https://" + "a" * 254],
)  # fmt: skip
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str) -> None:
    assert "is no origin" in str(refused({"cors": {"origins": ["https://ok.example", origin]}})["cors.origins[1]"])


def test_headers_and_methods_are_tokens_in_one_spelling() -> None:
    patch = {"cors": {"headers": ["X-A", "x-a", "*"], "methods": ["put", "PUT", "*"], "max_age": 86_400}}
    assert patched({}, patch) == {"cors": {"headers": ["x-a", "*"], "methods": ["PUT", "*"], "max_age": 86_400}}
    assert list(refused({"cors": {"headers": ["a b"], "methods": ["A:B", ""]}})) == [
        "cors.headers[0]",
        "cors.methods[0]",
        "cors.methods[1]",
    ]


def test_lists_are_bounded() -> None:
    for name in ("origins", "headers", "methods"):
        assert "at most 64" in str(refused({"cors": {name: [f"http://a{n}" for n in range(65)]}})[f"cors.{name}"])


@pytest.mark.parametrize(
    ("stored", "patch"),
    [
        ({}, {"origins": ["*"], "credentials": True}),
        ({"cors": {"origins": ["https://a.example", "*"]}}, {"credentials": True}),
        ({"cors": {"credentials": True}}, {"origins": ["*"]}),
    ],
)
def test_credentials_never_go_with_every_origin(stored: dict[str, Any], patch: dict[str, Any]) -> None:
    assert list(refused({"cors": patch}, stored)) == ["cors.credentials"]


def test_limits_within_maxima_are_clamped_one_by_one() -> None:
    maxima = Policy(Limits(1, 2, 3, 4, 5, 6, 7)).maxima
    assert Limits().within(maxima) == maxima
    assert Limits(wall_ms=1).within(Limits()) == Limits(wall_ms=1)
