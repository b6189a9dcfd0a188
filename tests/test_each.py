"""A test over many cases names all that fail, and is one test to whoever runs it."""

import inspect
from pathlib import Path

import pytest

from tests.each import CasesFailedError, each


@each("number, double", {"one": (1, 2), "two": (2, 5), "three": (3, 7), "four": (4, 8)})
def doubles(number: int, double: int) -> None:
    assert number * 2 == double


def test_all_that_fail_are_named_with_the_reason_of_each() -> None:
    with pytest.raises(CasesFailedError, match=r"^fails for 2: two, three\n") as caught:
        doubles()
    assert [name for name, _ in caught.value.failures] == ["two", "three"]
    assert all("assert number * 2 == double" in text for _, text in caught.value.failures)


def test_an_error_and_an_exception_that_is_missing_are_failures_of_their_case() -> None:
    @each("text", ["1", "x", "2"])
    def is_no_number(text: str) -> None:
        if text == "2":
            raise KeyError(text)
        with pytest.raises(ValueError, match="invalid literal"):
            int(text)

    with pytest.raises(CasesFailedError, match=r"^fails for 2: 1, 2\n"):
        is_no_number()


def test_two_above_each_other_make_all_pairs(tmp_path: Path) -> None:
    @each("low", [1, 2])
    @each("high", [2, 3])
    def is_less(low: int, high: int, tmp_path: Path) -> None:
        (tmp_path / f"{low}-{high}").touch()
        assert low < high

    assert [*inspect.signature(is_less).parameters] == ["tmp_path"]
    with pytest.raises(CasesFailedError, match=r"^fails for 1: 2-2\n"):
        is_less(tmp_path=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-2", "1-3", "2-2", "2-3"]


def test_a_loop_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no case for `rule`"):
        each("rule", [])


def test_a_mark_below_is_kept() -> None:
    @each("case", ["a"])
    @pytest.mark.real
    def marked(case: str) -> None:
        assert case

    assert [mark.name for mark in vars(marked)["pytestmark"]] == ["real"]
