"""Statements for databases, without the strings that they quote."""

from pipeguard.detect.commands import sql
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("text, lines", CASES["statements"])
def test_statements(text: str, lines: list[str]) -> None:
    assert sql.read_statements(text) == lines


def test_a_quote_behind_a_backslash_is_read_both_ways() -> None:
    assert sql.read_statements(r"select 'a\'; drop table b; --'") == [
        "SQL select '_'",
        "SQL drop table b",
    ]


def test_a_text_between_dollars_is_a_string() -> None:
    assert sql.read_statements("select $a$; drop table b;$a$") == ["SQL select '_'"]


def test_a_long_statement_has_several_lines_that_overlap() -> None:
    columns = ", ".join(f"c{number}" for number in range(2 * sql.MAX_LINE // 4))
    first, *others = sql.read_statements(" ".join(["select", columns, "from a"]))
    assert len(first) == sql.MAX_LINE + len("SQL ")
    assert others
    assert first[-sql.OVERLAP :] in others[0]
    assert all(line.startswith("SQL select ") for line in others)
    assert others[-1].endswith("from a")


def test_a_statement_begins_as_one_and_anything_else_is_a_value() -> None:
    begun = "SELECT 1", "/* a */ -- b\nselect 1", " (select 1)", "/**/ drop table a", "{a: 1}"
    assert all(map(sql.is_statement, begun))
    assert not any(map(sql.is_statement, ("", "red shoes", "who selects what", "'; drop table a")))


@each("value, outside", CASES["what_is_outside_the_string_that_a_value_ends"])
def test_what_is_outside_the_string_that_a_value_ends(value: str, outside: list[str]) -> None:
    assert sql.breakout_lines(value) == [f"VAL {value}", *(f"OUT {text}" for text in outside)]


@each("value", CASES["a_value_with_strings_of_its_own_ends_none"])
def test_a_value_with_strings_of_its_own_ends_none(value: str) -> None:
    assert sql.breakout_lines(value) == [f"VAL {value}"]
