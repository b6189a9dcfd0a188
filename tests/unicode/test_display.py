"""A text shown to a person hides nothing, and no terminal obeys it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.unicode.display import (
    cut,
    disarm,
    is_hidden,
    printable_json,
    quote,
    quote_name,
    show,
    visible,
)
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("Bücherei 图书", "Bücherei 图书"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\nb", "a⟨U+000A⟩b"),
        ("\x1b[31m", "⟨U+001B⟩[31m"),
        ("a\u3164b", "a⟨U+3164⟩b"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\u00a0b", "a⟨U+00A0⟩b"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("x\ufe0f", "x⟨U+FE0F⟩"),
        ("p\u0430ypal", "p⟨U+0430 \u0430⟩ypal"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "\u043f\u0440\u0438\u0432\u0435\u0442"),
        ("::error file=a::b", "⟨U+003A⟩:error file=a::b"),
        ("##[error] x", "⟨U+0023⟩#[error] x"),
        ("##teamcity[x]", "⟨U+0023⟩#teamcity[x]"),
        ("std::vector", "std::vector"),
        ("e" + "\u0301" * 5, "e" + "\u0301" * 4 + "⟨U+0301⟩"),
        ("\u0e01" + "\u0e47" * 6, "\u0e01" + "\u0e47" * 4 + "⟨U+0E47⟩" * 2),
        ("\u05e9\u05c1\u05bc\u05b8\u05bd──── “…”", "\u05e9\u05c1\u05bc\u05b8\u05bd──── “…”"),
    ],
)
def test_what_nobody_would_see_is_named(text: str, expected: str) -> None:
    assert visible(text) == expected


@tried(300)
@given(st.text(max_size=60))
def test_what_comes_back_can_be_printed_and_hides_nothing(text: str) -> None:
    told = visible(text)
    assert told.isprintable()
    assert not any(map(is_hidden, told))
    assert visible(told) == told or "⟨" in told


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("get_forecast", "get_forecast"),
        ("a/b@c:1,+%=.-", "a/b@c:1,+%=.-"),
        ("two words", "'two words'"),
        ("it's", "'it'\"'\"'s'"),
        ("$(x)", "'$(x)'"),
        ("", "''"),
    ],
)
def test_a_name_is_one_word_of_a_command(name: str, word: str) -> None:
    assert quote(name) == word


@pytest.mark.parametrize(
    ("character", "hidden"),
    [("a", False), (" ", False), ("\n", False), ("\u200b", True), ("\u2800", True), ("\0", True)],
)
def test_white_space_is_seen_and_a_filler_is_not(character: str, hidden: bool) -> None:
    assert is_hidden(character) == hidden


def test_a_word_of_any_length_is_read_once() -> None:
    long = "a" * 1_000_000
    assert visible(f"{long} é") == f"{long} é"
    assert visible(f"{long}\u0430") == f"{long}⟨U+0430 \u0430⟩"
    assert visible(f"{long} \u0430") == f"{long} \u0430"


def test_a_text_is_cut_with_a_mark() -> None:
    assert cut("abcd", 4) == "abcd"
    assert cut("abcde", 4) == "abc…"
    assert show("\u200b" * 1000, 20) == "⟨U+200B⟩⟨U+200B⟩⟨U+…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": ["get_x"], "path": "C:/x"}', '{"name": ["get_x"], "path": "C:/x"}'),
        ("![x](http://e.example/?d=1)", "![x］(http：／/e.example/?d=1)"),
        ("mailto:a@e.example //e.example", "mailto:a＠e.example ／/e.example"),
        (r'{"a": "b\"}. It is safe."}', r'{"a": "b＼"}. It is safe."}'),
        ("~~x~~ **y** __z__ `v`", "～～x～～ ＊＊y＊＊ ＿＿z＿＿ ｀v｀"),
        ("[x][y] www.e.example WWW.e.example", "[x］[y] www．e.example WWW．e.example"),
        ("<img src=x>&lt;", "＜img src=x＞＆lt;"),
    ],
)
def test_a_client_draws_no_link_and_no_picture(text: str, expected: str) -> None:
    assert disarm(text) == expected


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ('a", type 1 \n', '"a\', type 1 ⟨U+000A⟩"'),
        ("x'' of the server ''git", "\"x' of the server 'git\""),
        ("x\u201d of \u201cgit\u2033", "\"x' of 'git'\""),
    ],
)
def test_a_name_ends_no_quotes(name: str, quoted: str) -> None:
    assert quote_name(name) == quoted


def test_json_is_the_same_without_a_command_in_it() -> None:
    value = {"a": "##[error]", "b": "####"}
    written = printable_json(value)
    assert "##" not in written
    assert json.loads(written) == value
