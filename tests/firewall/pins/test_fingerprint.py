"""Canonical form and fingerprint: equivalent spellings are no drift, anything else is."""

import random
from decimal import Decimal
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.firewall.pins.fingerprint import Pin, _write_any, canonical, fingerprint
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from pipeguard.firewall.protocol.strict_json import parse_json
from tests.fuzz.values import spaced

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TOKENS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,25})?", fullmatch=True),
).map(Number)
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | TOKENS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: JsonValue, rng: random.Random) -> JsonValue:
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    return value


def meaning(value: JsonValue) -> object:
    """Return the value with numbers by their exact value, as an independent notion of equality."""
    if isinstance(value, dict):
        return {key: meaning(item) for key, item in value.items()}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if isinstance(value, Number):
        sign, digits, exponent = _parts(value)
        return ("number", sign, digits, exponent)
    return (type(value).__name__, value)


def _parts(token: str) -> tuple[bool, str, int]:
    mantissa, _, power = token.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return False, "", 0
    exponent = int(power or 0) - len(fraction) + len(digits) - len(significant)
    return token.startswith("-"), significant, exponent


@given(VALUES, st.randoms(use_true_random=False))
def test_key_order_white_space_and_escapes_are_no_drift(
    value: JsonValue, rng: random.Random
) -> None:
    again = parse_json(spaced(shuffled(value, rng)))
    assert fingerprint(again) == fingerprint(value)


@given(VALUES, VALUES)
def test_any_other_difference_is_drift(one: JsonValue, other: JsonValue) -> None:
    if meaning(one) != meaning(other):
        assert canonical(one) != canonical(other)


@given(TOKENS, TOKENS)
def test_numbers_collide_only_where_they_are_equal(one: Number, other: Number) -> None:
    if canonical(one) == canonical(other):
        assert meaning(one) == meaning(other)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_spellings_of_one_double_agree(double: float) -> None:
    assert canonical(Number(repr(double))) == rfc8785.dumps(double)
    assert canonical(Number(f"{Decimal(repr(double)):.40e}")) == rfc8785.dumps(double)


@given(VALUES)
def test_a_parsed_value_is_written_as_any_other(value: JsonValue) -> None:
    assert canonical(value) == _write_any(value)


@given(VALUES)
def test_the_canonical_text_is_json_and_its_own_canonical_text(value: JsonValue) -> None:
    text = canonical(value)
    assert canonical(parse_json(text)) == text


def test_it_is_rfc_8785_where_that_has_an_answer() -> None:
    # The sample of RFC 8785 section 3.2.2, without the number that a double would round.
    sample = (
        rb'{"numbers":[1E30,4.50,2e-3,0.000000000000000000000000001],'
        rb'"string":"\u20ac$\u000F\u000aA'
        rb"'"
        rb'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}'
    )
    assert (
        canonical(parse_json(sample))
        == (
            '{"literals":[null,true,false],"numbers":[1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_keys_are_sorted_by_utf_16() -> None:
    # RFC 8785 section 3.2.3: U+1F600 comes before U+FB33, its first code unit is lower.
    assert canonical({"\ufb33": None, "\U0001f600": None}) == (
        '{"\U0001f600":null,"\ufb33":null}'.encode()
    )


@pytest.mark.parametrize(
    "token",
    [
        "1e400",
        "-1e400",
        "1e-400",
        "9007199254740993",
        "1" * 5000,
        "333333333.33333329",
        "1e99999999999999999999",
        "0." + "1" * 40,
    ],
)
def test_a_number_that_would_be_rounded_stands_as_it_was_sent(token: str) -> None:
    assert canonical({"maximum": Number(token)}) == b'{"maximum":%s}' % token.encode()


def test_a_number_is_not_the_string_of_its_digits() -> None:
    assert canonical(Number("1e400")) != canonical("1e400")


def test_plain_numbers_are_taken_as_well() -> None:
    assert canonical([1, 1.0, 2**64 + 1, True]) == b"[1,1,18446744073709551617,true]"


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, "\ud800", {"\ud800": 1}, b"bytes"])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_a_fingerprint_is_the_sha_256_of_the_canonical_text() -> None:
    definition: JsonValue = {"name": "get_forecast", "description": "Forecast for a city."}
    assert fingerprint(definition) == sha256(canonical(definition)).hexdigest()


def test_pins_that_differ_in_times_alone_are_equal_in_every_way() -> None:
    one = Pin("tool", "a", "{}", "00", None, None, "", "2026-01-01T00:00:00Z")
    other = one._replace(approved_at="2027-01-01T00:00:00Z", held_at="2027-01-01T00:00:00Z")
    assert one == other
    assert not one != other  # noqa: SIM202  this is what is tested
    assert hash(one) == hash(other)
