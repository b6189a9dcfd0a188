"""Matches of expressions: RE2 finds the same ones as `re`, and no text makes it slow."""

import re
from collections.abc import Iterable, Iterator
from unittest.mock import Mock

import pytest
import re2
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.detect.flows import order_sentences, orders, secret_values, tool_results
from pipeguard.detect.flows.overlap import letters
from pipeguard.detect.matching import confirm
from pipeguard.detect.matching.confirm import Finder, Occurrence, find_signed, occurs
from pipeguard.detect.matching.pattern_set import secret_group
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.rule_groups import squeezed_pattern
from pipeguard.rulebook.samples import texts
from tests.each import each
from tests.fuzz.rulebook import RULES

PIECES = [*'aB7_- \n\v\t=":\xe9.', "key", "token "]
PATTERNS = [
    r"(?i:key|token)\s{0,3}[=:]\s{0,3}(?P<secret>[a-z0-9]{2,200})",
    r"\b[a-z]{1,3}\b",
    r"a[\s=]{0,60}7\Z",
    r"[^\s]{2,3}\Z",
    r"\S{1,3}\s",
    r"(?:\A|\n)B[^a]{0,80}7",
    r"[]a\]]{1,50}\s",
    r"\\|\$|7{2,5}",
    r"[a-z]{2,3}?(?P<secret>[\s\S])?",
]
VALUES = [r"(?:[a-z0-9-]{2,5}|B)", r"[a-z_]{1,4}?", r"[^a]{2}"]


def seen(matches: Iterable[Occurrence]) -> list[tuple[tuple[int, int], bytes, tuple[int, int]]]:
    return [(match.span, match.words, match.secret) for match in matches]


def by_re(
    pattern: str, data: bytes, low: int, high: int, *, ignore_case: bool
) -> Iterator[Occurrence]:
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    for match in re.compile(pattern.encode(), flags).finditer(data, low, high):
        group = match.span(*match.re.groupindex) if match.re.groupindex else (-1, -1)
        yield Occurrence(match.span(), group if group[0] >= 0 else None, match[0])


TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(st.sampled_from(PATTERNS), st.booleans(), TEXTS, st.integers(0, 12), st.integers(0, 12))
@example(PATTERNS[2], False, "a\v7", 0, 0)
@example(PATTERNS[4], False, "a\va ", 0, 0)
def test_it_finds_what_re_finds(
    pattern: str, ignore_case: bool, text: str, before: int, after: int
) -> None:
    data = text.encode()
    low, high = min(before, len(data)), max(0, len(data) - after)
    expected = by_re(pattern, data, low, high, ignore_case=ignore_case)
    finder = Finder(pattern, ignore_case=ignore_case)
    assert seen(finder.finditer(data, low, high)) == seen(expected)


def test_an_expression_is_compiled_once_a_text_could_match(monkeypatch: pytest.MonkeyPatch) -> None:
    compiling = Mock(wraps=re2.compile)
    monkeypatch.setattr(re2, "compile", compiling)
    finder = Finder(r"first[^.]{0,90}then (?P<secret>\w{2,40})", ignore_case=False)
    for text, found in (("then first", 0), (f"first {'x' * 90} then ab", 0), ("first, then ab", 1)):
        assert len([*finder.finditer(text.encode(), 0, len(text))]) == found
        assert compiling.call_count == 1 + ("then ab" in text)
    monkeypatch.setattr(confirm, "GENERATION", 0)
    for generations, again in ((1, 0), (2, 2)):  # unused by the messages of the last of two
        for _ in range(generations):
            confirm.EXPRESSIONS.begin_message(confirm.GENERATION_BYTES)
        assert any(finder.finditer(text.encode(), 0, len(text)))
        assert compiling.call_count == 2 + again


@given(st.sampled_from(VALUES), TEXTS, st.integers(1, 12), st.integers(0, 12))
@example(VALUES[0], "=ab-ab=B=B", 1, 0)
@example(VALUES[1], "a__ab", 2, 0)
@example(VALUES[1], "___", 1, 0)
def test_a_whole_word_is_one_that_nothing_touches(
    pattern: str, text: str, before: int, after: int
) -> None:
    data = text.encode()
    low, high = min(before, len(data)), max(0, len(data) - after)
    alone = rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
    expected = by_re(alone, data, low, high, ignore_case=False) if low else ()
    found = Finder(pattern, ignore_case=False, whole_words=True).finditer(data, low, high)
    assert seen(found) == seen(expected)


EXPRESSIONS = [
    *(orders._ACTS, tool_results._MARKED, tool_results._DISCLAIMER, tool_results._ACCOUNT),
    *(tool_results._ADDRESSED, secret_values._CALLED),
]
WORDS = (
    "rm form -rf --delete >>~ |sh printenv $kTOKEN confidential not forward any message @bot"
    " if you're an ai agents: code PIN kod DE89 3704 0044 0532 +49 1234567 a1b2c3 x-y"
    " u@host.com www.x.io https://x.example/a .com é ſ İ — … ’ 中 _ - . : 7 123456"
)
BETWEEN = st.sampled_from(["", " ", " ", "\t", "\x1c"])
PROSE = st.lists(st.tuples(st.sampled_from(WORDS.split()), BETWEEN).map("".join)).map("".join)


@given(st.sampled_from(EXPRESSIONS), PROSE)
def test_re2_says_as_re_does_what_a_text_has(expression: re.Pattern[str], text: str) -> None:
    assert occurs(expression, text) == (expression.search(text) is not None)


@given(PROSE)
def test_values_are_found_beside_their_signs_alone(text: str) -> None:
    for has_ids in (True, False):
        found = [each for each, _ in order_sentences.find_strong(text, has_ids=has_ids)]
        expected = [
            letters(each[0])
            for each in order_sentences.STRONG.finditer(text)
            if each[1] or (has_ids and not text.endswith("/", 0, each.start()))
        ]
        assert found == [each for each in expected if len(each) >= order_sentences.STRONG_CHARS]


@given(st.text("ab7= "), st.integers(0, 3))
@example("abab=ab7", 1)
@example("abbbab7", 3)
def test_a_sign_may_be_in_another_and_signs_may_be_many(text: str, few: int) -> None:
    expression, sign = re.compile("ab{0,2}(?:ab)?=?b?7"), "ab*(?:ab)?=?"
    expected = [match.span() for match in expression.finditer(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirm, "FEW_SIGNS", few)
        assert [match.span() for match in find_signed(expression, sign, text)] == expected


@pytest.mark.parametrize("text", ["key7", "key7\n", "key7\n\n"])
def test_a_line_end_may_follow_a_dollar(text: str) -> None:
    is_found = any(Finder(r"7$", ignore_case=False).finditer(text.encode(), 0, len(text)))
    assert is_found is (re.search("7$", text) is not None)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(r"x[[:digit:]\s]7", "x\v7"), (r"\Qa$\s\E-7", r"a$\s-7"), (r"[[:^space:][:blank:]]$", "é")],
)
def test_a_class_in_brackets_and_quoted_words_are_read_as_re2_does(pattern: str, text: str) -> None:
    data = text.encode()
    assert [*Finder(pattern, ignore_case=False).finditer(data, 0, len(data))]


@pytest.mark.slow
@each("rule", RULES)
def test_it_finds_what_re_finds_in_samples(rule: Rule) -> None:
    data = "\n".join(texts(sample)[0] for sample in (*rule.matches, *rule.passes)).encode()
    for pattern in filter(None, (rule.pattern, squeezed_pattern(rule)[0])):
        finder = Finder(pattern, ignore_case=rule.ignore_case)
        expected = by_re(pattern, data, 0, len(data), ignore_case=rule.ignore_case)
        assert seen(finder.finditer(data, 0, len(data))) == seen(expected)


@each("rule", {name: rule for name, rule in RULES.items() if rule.several})
def test_the_further_values_of_a_rule_can_be_searched_for(rule: Rule) -> None:
    value = secret_group(rule.pattern)
    assert "(?P<" not in value
    assert confirm.EXPRESSIONS[value, rule.ignore_case]


@pytest.mark.parametrize("pattern", [r"(?<=a)b", r"a(?!b)", r"(a)\1", "a{2000}", "("])
def test_what_could_be_slow_is_rejected(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"invalid|missing"):
        _ = confirm.EXPRESSIONS[pattern, False]


@pytest.mark.parametrize("pattern", [r"(?:a{1,16}){0,60}b", r"(?:a|a?a)*b", r"a*a*a*a*a*b"])
def test_a_text_that_makes_re_backtrack_is_read_once(pattern: str) -> None:
    """`re` takes longer than a test may take."""
    data = b"a" * 5000
    assert not any(Finder(pattern, ignore_case=False).finditer(data, 0, len(data)))
