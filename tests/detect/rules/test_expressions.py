"""The expressions of a pack, in lines and of parts, are written out for the engine."""

import re

import pytest

from pipeguard.detect.rules.expressions import Expressions, strip_marks
from pipeguard.detect.rules.rule import load_pack
from pipeguard.errors import RuleError
from tests.each import each


def written(entry: dict[str, object], **document: object) -> dict[str, object]:
    return Expressions(document).written_out(entry)


def test_a_part_may_use_those_before_it() -> None:
    parts = {"digit": "[0-9]", "number": "%{digit}{4}"}
    assert written({"pattern": "a%{number}b"}, parts=parts)["pattern"] == "a[0-9]{4}b"


def test_lines_are_put_together_without_their_ends() -> None:
    assert written({"pattern": "a\n  b\n  c"})["pattern"] == "abc"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a b", r"a\s+b"),
        (r"a\ b", r"a\ b"),
        ("[a b]", "[a b]"),
        ("[] a]x y", r"[] a]x\s+y"),
        (r"[[:alpha:] ]b \Q c\E", r"[[:alpha:] ]b\s+\Q c\E"),
    ],
)
def test_a_blank_outside_of_brackets_is_any_of_them(pattern: str, expected: str) -> None:
    assert written({"pattern": pattern}, blanks="any")["pattern"] == expected
    assert written({"pattern": pattern})["pattern"] == pattern


def test_a_percent_sign_before_a_brace_is_one_where_no_part_can_be_meant() -> None:
    for pattern in (r"%{1,2}", r"%\{x", "[%{x]", r"\Q%{x\E"):
        assert written({"pattern": pattern})["pattern"] == pattern


def test_a_group_has_its_name_in_either_form() -> None:
    fields = written({"pattern": r"(?<secret>\(?<a>[(?<a])"})
    assert fields["pattern"] == r"(?P<secret>\(?<a>[(?<a])"


def test_what_stands_before_a_part_is_the_sign_of_a_rule_that_has_none() -> None:
    document = {"parts": {"link": "[ =]"}, "sign_before": "link"}
    assert written({"pattern": "key%{link}x"}, **document)["sign"] == "key"
    assert written({"pattern": "key%{link}x", "sign": "own"}, **document)["sign"] == "own"
    assert "sign" not in written({"pattern": "key"}, **document)


def test_what_is_no_expression_stays_as_it_is() -> None:
    entry = {"id": "one", "matches": ["%{none}"], "severity": "high"}
    assert written(dict(entry)) == entry


def test_a_part_that_is_missing_is_told_with_the_place() -> None:
    with pytest.raises(RuleError, match=r"^the pack has no part `gap`"):
        written({"id": "one", "unless": "%{gap}"})
    with pytest.raises(RuleError, match="part a: the pack has no part `b`"):
        Expressions({"parts": {"a": "%{b}", "b": "c"}})
    with pytest.raises(RuleError, match="`parts` are expressions by their names"):
        Expressions({"parts": ["a"]})


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
