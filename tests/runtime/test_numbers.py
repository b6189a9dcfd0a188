"""Numbers on the command line. runtime/numbers.py."""

import re

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.errors import PolicyError
from pipeguard.runtime.numbers import read_number


def options(**values: str) -> WrapOptions:
    return WrapOptions((), {f"--{name}": text for name, text in values.items()}, {}, ())


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("0.5", 0.5), ("60", 60), ("3600", 3600)])
def test_an_option_gives_a_number(text: str, number: float) -> None:
    assert read_number(options(grace=text), "--grace", 2.0, 3600.0) == number
    assert read_number(options(), "--grace", 2.0) == 2.0


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf", "-inf", "3601", "1s", "1,5"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    why = f"--grace {text}: give a number from 0 to 3600, such as 2."
    with pytest.raises(PolicyError, match=re.escape(why)):
        read_number(options(grace=text), "--grace", 2.0, 3600.0)
