"""Values in a text: names, addresses, people, numbers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.detect.flows import overlap, text_values
from pipeguard.detect.text import layouts
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from tests.fuzz.budget import tried
from tests.fuzz.values import tokens


def test_a_name_is_no_plain_word() -> None:
    names = list(text_values.list_names("delete the old-2024-site. branch immediately"))
    assert names == ["old-2024-site"]


def test_a_token_comes_whole_and_in_parts() -> None:
    tokens = text_values.list_tokens("call +49 30 5550 1234, TOKEN=abcdef123456/xyz")
    assert tokens[:2] == ["+49 30 5550 1234", "TOKEN=abcdef123456/xyz"]
    assert tokens[2:] == ["abcdef123456/xyz", "abcdef123456"]


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ({"ticket": "T-311", "limit": "l-100"}, {"t-311"}),
        ([["@ann"], {"path": "a/b"}, Number("1234")], {"@ann", "a/b", "1234"}),
        ({"n": Number("500"), "name": "plain"}, set()),
        ({"number": "N-7"}, {"n-7"}),
    ],
)
def test_short_values_are_ids_and_names_but_no_amounts(value: JsonValue, short: set[str]) -> None:
    assert text_values.list_short_values(value) == short


runs = st.builds(
    "".join,
    st.lists(
        st.sampled_from([*"aZ1@.+/=_- \né中\ud800", "abcDEF123", "=" * 12, "é" * 12, "x" * 250])
    ),
)


@tried(500)
@given(runs)
@example("a" * 256 + "b" * 11 + " " + "c1" * 140)
def test_both_forms_find_the_same_tokens_and_names(text: str) -> None:
    assert overlap.native() is not None, "no C compiler? `make environment` builds _overlap.c"
    tokens = text_values.list_tokens
    forms = tokens, text_values.list_names
    ours = [[*form(text)] for form in forms]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "native", lambda: None)
        assert ours == [[*form(text)] for form in forms]


edges = st.builds("".join, st.lists(st.sampled_from([*"aZ1@#/ \t\x1c\x7f\u00a0é中", "x" * 97])))
short_keys = st.sampled_from(["", "amount", "price" * 30, "id", "value", "name", "key", "api_key"])
short = st.recursive(
    st.none() | st.booleans() | edges | tokens,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(short_keys, inner, max_size=4),
    max_leaves=14,
)


@tried(500)
@given(short)
@example("\ud800a1")
@example({"name": "password", "value": ["x", {"value": "y"}], "key": "token"})
def test_both_forms_list_the_same_named_strings(value: JsonValue) -> None:
    assert layouts.NATIVE is not None, "no C compiler? `make environment` builds _layout.c"
    ours = text_values.list_named_strings(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_values, "NATIVE", None)
        assert text_values.list_named_strings(value) == ours


def test_addresses_and_digests_are_found() -> None:
    text = f"Ann Lee wrote to bo@in.example about https://in.example/a?b ({'d' * 40})."
    assert text_values.find_mailboxes(text) == {"bo@in.example"}
    assert text_values.find_urls(text) == ["https://in.example/a?b"]
    assert text_values.find_addresses({"a": [text]}) == ["https://in.example/a?b"]
    assert text_values.find_digests(text) == ["d" * 40]


def test_an_address_or_the_public_is_outside() -> None:
    assert all(map(text_values.is_outside, ("https://x", "public")))
    assert not text_values.is_outside("team")


@pytest.mark.parametrize("spec", ["d", "o"])
def test_a_list_of_numbers_in_a_call_is_the_text_that_they_are(spec: str) -> None:
    told = "a text of enough letters"
    numbers: list[JsonValue] = [Number(format(byte, spec)) for byte in told.encode()]
    assert told in text_values.join_sent({"a": "b", "data": [{"x": numbers}]}).decode()
    assert text_values.join_sent({"a": "b", "data": [Number("7")] * 40}) == b"b\na\ndata"
