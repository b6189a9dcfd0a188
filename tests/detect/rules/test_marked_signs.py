"""The sign of a pattern, from marks in it."""

import re

import pytest

from pipeguard.detect.rules.expressions import strip_marks
from pipeguard.detect.rules.rule import load_pack
from pipeguard.errors import RuleError
from tests.each import each

PACK = """
pack: test
about: A test.
parts: {{what: '(?:gist|forum)'}}
rules:
- id: one
  title: One
  severity: low
  confidence: low
  surfaces: [to-client]
  pattern: '{pattern}'
  why: So.
  fix: Do.
  matches: [put it in the public gist]
  passes: [nothing]
"""


@each(
    "marked, pattern, sign",
    {
        "no mark": ("a (?:b|c)", "a (?:b|c)", ""),
        "a part": ("all of %<b{2}%> and c", "all of b{2} and c", "(?:b{2})"),
        "each alternative": ("a%<b%>|%<c%>d", "ab|cd", "(?:b|c)"),
        "one of two alternatives": ("a%<b%>|cd", "ab|cd", "(?:b|cd)"),
        "in a group": ("x(?:a%<b%>|cd)y", "x(?:ab|cd)y", "(?:(?:(?:b|cd)))"),
        "a group with flags": ("x(?i:a%<b%>)y", "x(?i:ab)y", "(?:(?i:(?:b)))"),
        "a name": ("x(?P<secret>a%<b%>)", "x(?P<secret>ab)", "(?:(?P<secret>(?:b)))"),
        "a group that repeats": ("x(?:a%<b%>){1,3}y", "x(?:ab){1,3}y", "(?:(?:(?:b)))"),
        "around a group": ("x%<(?:a|b)?c%>", "x(?:a|b)?c", "(?:(?:a|b)?c)"),
        "bars and brackets that are letters": (
            r"[|(]\|x%<\)[%<]y%>",
            r"[|(]\|x\)[%<]y",
            r"(?:\)[%<]y)",
        ),
    },
)
def test_of_each_alternative_the_marked_part_is_the_sign(
    marked: str, pattern: str, sign: str
) -> None:
    assert strip_marks(marked) == (pattern, sign)


@each("pattern", ["a%<b", "(?:a%<b|c)%>", "a(?:b%<c%>)?", "a(?:b%<c%>)*", "a(?:b%<c%>){0,2}"])
def test_a_mark_that_makes_no_sign_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"has no|may be absent"):
        strip_marks(pattern)


def test_a_rule_has_the_sign_that_its_pattern_marks() -> None:
    (rule,) = load_pack(PACK.format(pattern="(?:put|post) it %<in the public %{what}%>"), "test")
    assert rule.pattern == "(?:put|post) it in the public (?:gist|forum)"
    assert rule.sign == "(?:in the public (?:gist|forum))"
    assert re.search(rule.sign, "put it in the public gist")


def test_a_wrong_mark_names_the_rule() -> None:
    with pytest.raises(RuleError, match=r"test, line \d+, column \d+: one: .*has no"):
        load_pack(PACK.format(pattern="put it %<in the public"), "test")
