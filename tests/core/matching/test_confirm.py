"""Where expressions match: what RE2 and `re` find together is what `re` finds alone."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeguard.core.matching import confirm as module
from pipeguard.core.matching.confirm import Finder, looser
from pipeguard.core.rules.rule import Rule
from pipeguard.rulebook.proof import texts
from tests.each import each
from tests.fuzz.rulebook import RULES

PIECES = [
    "a",
    "B",
    "7",
    "_",
    "-",
    " ",
    "\n",
    "\v",
    "\t",
    "=",
    '"',
    ":",
    "key",
    "token ",
    "\xe9",
    ".",
]
PATTERNS = [
    r"(?i:key|token)\s{0,3}[=:]\s{0,3}(?P<secret>[a-z0-9]{2,200})",
    r"\b[a-z]{1,3}\b",
    r"a[\s=]{0,60}7$",
    r"[^\s]{2,3}\Z",
    r"(?:\A|\n)B[^a]{0,80}7",
    r"[]a\]]{1,50}\s",
    r"\\|\$|7{2,5}",
    r"a*",
]


def told(found: Iterable[re.Match[bytes]]) -> list[tuple[tuple[int, int], tuple[bytes, ...]]]:
    return [(match.span(), match.groups()) for match in found]


@given(
    st.sampled_from(PATTERNS),
    st.booleans(),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.integers(0, 12),
    st.integers(0, 12),
)
@example(PATTERNS[2], False, "a=7\n", 0, 0)
@example(PATTERNS[2], False, "a\v7", 0, 0)
def test_it_finds_what_re_finds(
    pattern: str, ignore_case: bool, text: str, before: int, after: int
) -> None:
    data = text.encode()
    low, high = min(before, len(data)), max(0, len(data) - after)
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    expected = re.compile(pattern.encode(), flags).finditer(data, low, high)
    assert told(Finder(pattern, ignore_case=ignore_case).finditer(data, low, high)) == told(
        expected
    )


def test_every_rules_expression_is_taken() -> None:
    finders = {
        rule.id: Finder(rule.pattern, ignore_case=rule.ignore_case) for rule in RULES.values()
    }
    assert [name for name, finder in finders.items() if finder._begins is None] == []


@each("rule", RULES)
def test_it_finds_what_re_finds_in_samples(rule: Rule) -> None:
    finder = Finder(rule.pattern, ignore_case=rule.ignore_case)
    samples = [texts(sample)[0].encode() for sample in (*rule.matches, *rule.passes)]
    tripled = [b"\n".join([sample] * 3) for sample in samples]
    expected = [told(finder.expression.finditer(data)) for data in tripled]
    assert [told(finder.finditer(data, 0, len(data))) for data in tripled] == expected


def test_what_re2_does_not_take_is_found_by_re_alone() -> None:
    finder = Finder(r"(?<=a)b", ignore_case=False)
    assert finder._begins is None
    assert told(finder.finditer(b"ab b ab", 0, 7)) == [((1, 2), ()), ((6, 7), ())]


def test_where_too_much_is_found_in_vain_re_does_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IN_VAIN", 2)
    data = b"a" * 50 + b"-" + b"aaa-ab" * 3
    finder = Finder(r"a[^-]{0,41}b", ignore_case=False)
    assert told(finder.finditer(data, 0, len(data))) == told(finder.expression.finditer(data))


@pytest.mark.parametrize(
    ("pattern", "loose"),
    [
        (rb"a{2,9}", rb"a{2,}"),
        (rb"a{2,9}?b*?c{2}?", rb"a{2,}b*c{2}"),
        (rb"a{2,8}", rb"a{2,8}"),
        (rb"\{1,99}", rb"\{1,99}"),
        (rb"[{1,99}]", rb"[{1,99}]"),
        (rb"[\s=]", rb"[\s\v=]"),
        (rb"[^\s=]", rb"[^\s=]"),
        (rb"\s\Z", rb"[\s\v]\z"),
        (rb"\\s\$[$]$", rb"\\s\$[$](?:)"),
    ],
)
def test_the_looser_form(pattern: bytes, loose: bytes) -> None:
    assert looser(pattern) == b"(?U)" + loose


def test_what_follows_the_beginning_of_a_match_is_not_read() -> None:
    finder = Finder(r"//(?:a*@)?a{0,300}b?", ignore_case=False)
    assert finder._begins is not None
    assert finder._begins(b" //" + b"a" * 10_000, 0).span() == (1, 3)
