"""Signs found in C, held to what they stand for."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.tokens import has_phrase, phrase_words, seed_phrase
from pipeguard.detect.scanning.engine import ROWS
from pipeguard.detect.scanning.readings import SIGNS
from pipeguard.detect.text.encoding import make_pattern
from pipeguard.detect.words import bip39
from tests.each import some
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import RULES, engine_of, expression

BETWEEN = st.sampled_from((" ", ", ", "\n", '", "', ' "\\ *| -', "é", " " * 40))
OTHERS = st.sampled_from((*bip39.in_order("WORDS"), "the", "Of", "x", "internationalisation"))
OPENINGS = st.sampled_from(("", "The words: ", "\n", "A seedphrase", "of of of ", "backup_zoo"))
PHRASES = [rule for rule in RULES.values() if "bip39" in rule.require]


@tried(150)
@given(st.binary(min_size=16, max_size=16), OPENINGS, BETWEEN, st.lists(OTHERS), st.booleans())
def test_each_phrase_that_a_rule_finds_is_seen(
    entropy: bytes, before: str, between: str, others: list[str], numbered: bool
) -> None:
    words = [*seed_phrase(entropy), *others]
    if numbered:
        words = [f"{number}. {word}" for number, word in enumerate(words, 1)]
    data = (before + between.join(words)).encode()
    for rule in some(PHRASES):
        if any(has_phrase(phrase_words(m[0])) for m in expression(rule).finditer(data)):
            assert rule.id in {seen.id for seen in engine_of(rule.id).look_plain(data)[1]}


ROW_SIGNS = {name: re.compile(make_pattern(SIGNS[name]).encode()) for name in sorted(ROWS)}
LETTERS = (
    b"aZ09+/_-",
    b"a1 .\n-",
    b"AB2Q7",
    b"0123456789abcdefABCDEF",
    b"Igab wCSy05/E",
    b"\0\xff",
)
FRAGMENTS = st.one_of(*map(st.from_regex, ROW_SIGNS.values()))


@tried(300)
@given(
    st.lists(
        st.one_of(*(st.lists(st.sampled_from(some), max_size=44).map(bytes) for some in LETTERS)),
        max_size=3,
    ),
    FRAGMENTS,
    st.integers(0, 2),
)
def test_the_rows_of_letters_that_are_seen_are_those_that_re_finds(
    parts: list[bytes], row: bytes, cut: int
) -> None:
    data = b"".join((*parts[:1], row[cut : len(row) - cut], *parts[1:]))
    signs, _ = engine_of(PHRASES[0].id).look_plain(data)
    assert {*signs} & ROWS == {name for name, sign in ROW_SIGNS.items() if sign.search(data)}
