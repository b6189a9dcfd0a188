"""The expressions of a pack, in lines and of parts, are written out for the engine."""

import re

import pytest

from pipeguard.detect.rules.expressions import Expressions, strip_marks
from pipeguard.detect.rules.rule import load_pack
from pipeguard.errors import RuleError
from tests.detect.cases import read_cases
from tests.each import each
from tests.rulebook.words import pack_of

CASES = read_cases(__file__)


def written(entry: dict[str, object], **document: object) -> dict[str, object]:
    return Expressions(document).written_out(entry)


def test_a_part_may_use_those_before_it() -> None:
    parts = {"digit": "[0-9]", "number": "%{digit}{4}"}
    assert written({"pattern": "a%{number}b"}, parts=parts)["pattern"] == "a[0-9]{4}b"


def test_lines_are_put_together_without_their_ends() -> None:
    assert written({"pattern": "a\n  b\n  c"})["pattern"] == "abc"


@each("pattern, expected", CASES["a_blank_outside_of_brackets_is_any_of_them"])
def test_a_blank_outside_of_brackets_is_any_of_them(pattern: str, expected: str) -> None:
    assert written({"pattern": pattern}, blanks="any")["pattern"] == expected
    assert written({"pattern": pattern})["pattern"] == pattern


def test_a_percent_sign_before_a_brace_is_one_where_no_part_can_be_meant() -> None:
    for pattern in (r"%{1,2}", r"%\{x", "[%{x]", r"\Q%{x\E"):
        assert written({"pattern": pattern})["pattern"] == pattern


def test_a_group_has_its_name_in_either_form() -> None:
    fields = written({"pattern": r"(?<secret>\(?<a>[(?<a])"})
    assert fields["pattern"] == r"(?P<secret>\(?<a>[(?<a])"


def test_a_sign_has_any_text_instead_of_a_part_in_a_rule_that_has_none() -> None:
    document = {"parts": {"link": "[ =]"}, "sign_without": "link"}
    assert written({"pattern": "key%{link}x"}, **document)["sign"] == r"key[\s\S]*x"
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


@each("marked, pattern, sign", CASES["of_each_alternative_the_marked_part_is_the_sign"])
def test_of_each_alternative_the_marked_part_is_the_sign(
    marked: str, pattern: str, sign: str
) -> None:
    assert strip_marks(marked) == (pattern, sign)


@each("pattern", ["a%<b", "(?:a%<b|c)%>", "a(?:b%<c%>)?", "a(?:b%<c%>)*", "a(?:b%<c%>){0,2}"])
def test_a_mark_that_makes_no_sign_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"has no|may be absent"):
        strip_marks(pattern)


def test_a_rule_has_the_sign_that_its_pattern_marks() -> None:
    pack = pack_of(pattern="(?:put|post) it %<in the public %{what}%>", unless="no %{what}")
    (rule,) = load_pack(f"{pack}parts: {{what: '(?:gist|forum)'}}", "test")
    assert rule.pattern == "(?:put|post) it in the public (?:gist|forum)"
    assert rule.unless == "no (?:gist|forum)"
    assert rule.sign == "(?:in the public (?:gist|forum))"
    assert re.search(rule.sign, "put it in the public gist")


def test_a_wrong_mark_names_the_rule() -> None:
    with pytest.raises(RuleError, match=r"test, line \d+, column \d+: one: .*has no"):
        load_pack(pack_of(pattern="put it %<in the public"), "test")
