"""Paths in values, resolved however their steps are written."""

import pytest

from pipeguard.detect.commands.path_normalisation import path_lines
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


@each("raw, lines", CASES["paths_are_resolved"])
def test_paths_are_resolved(raw: str, lines: list[str]) -> None:
    assert path_lines(raw, raw) == lines


def test_a_path_that_a_tool_writes_says_so() -> None:
    assert path_lines("/etc/cron.d/x", "/etc/cron.d/x", (">",)) == ["> /etc/cron.d/x"]


def test_what_is_behind_a_null_character_is_left_out() -> None:
    assert path_lines("../a%00.png", "../a%00.png") == ["< ../a", "ODD ../a"]


@pytest.mark.parametrize("raw", ["%c0%ae%c0%ae/x", "%e0%80%ae%e0%80%ae%c0%afx"])
def test_a_form_in_utf_8_that_is_too_long_is_its_character(raw: str) -> None:
    assert path_lines(raw, raw) == ["< ../x", "ODD ../x"]


def test_a_text_of_several_lines_is_no_path() -> None:
    assert path_lines("a/b\nc/d\ne/f\ng", "a/b\nc/d\ne/f\ng") == []
