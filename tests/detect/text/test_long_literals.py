"""Positions of literals over several lines, and texts that only look like one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.text.long_literals import MOST_BYTES, long_literals, without_long_literals
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

VALUE = "one\ntwo\n"


def values(text: str) -> list[str]:
    data = text.encode()
    return [data[start:end].decode() for start, end in long_literals(data)]


@each("before, after", CASES["a_value_is_found"])
def test_a_value_is_found(before: str, after: str) -> None:
    assert values(before + VALUE + after) == [VALUE]
    bare = without_long_literals((before + VALUE + after).encode())
    assert len(bare) == len(before + VALUE + after)
    assert b"one" not in bare


@pytest.mark.parametrize(
    "text",
    [
        f'def f():\n    """{VALUE}"""',  # a docstring
        f'"""{VALUE}"""',
        f'class A: """{VALUE}"""',
        f'@moduledoc """{VALUE}"""',
        f"/* x = `{VALUE}` */",
        f"<!-- x = `{VALUE}` -->",
        f"--[[\nx = `{VALUE}`]]",
        f"=begin\nx = `{VALUE}`\n=end",
        f"def f():\n    \"\"\"Say\n    x = '''{VALUE}'''\n    \"\"\"",  # in a docstring
        f"# x = '''\n{VALUE}'''",
        f'x = """{VALUE}',  # never closed
        f'"""{VALUE}\nx = `{VALUE}`',  # nor what is before it
        "x = `one`",  # in one line
        f"```\n{VALUE}```",
        f"cat <<EOF\n{VALUE}EOFX EOF",
        f'x = """{VALUE}"""' + " " * MOST_BYTES,
    ],
)
def test_what_speaks_to_its_reader_or_never_ends_is_none(text: str) -> None:
    assert values(text) == []


@tried(200)
@given(st.text(alphabet="\"'`#=(<RrAB/*-[]\n x", max_size=60).map(str.encode))
def test_literals_are_in_order_and_what_is_without_them_is_as_long(data: bytes) -> None:
    spans = long_literals(data)
    assert all(start < end for start, end in spans)
    assert list(spans) == sorted(spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert len(without_long_literals(data)) == len(data)
