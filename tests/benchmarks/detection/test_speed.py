"""Measured texts have the size that is reported."""

import json

from benchmarks.detection import speed
from benchmarks.frames.corpus import MEGABYTE
from tests.fuzz.rulebook import engines


def test_each_kind_is_about_a_megabyte_and_a_row_tells_of_each_frame() -> None:
    for name, value in speed.megabytes():
        size = len(json.dumps(value, ensure_ascii=False).encode())
        assert 0.75 * MEGABYTE < size < 1.15 * MEGABYTE, name
    name, median, slowest, frames = speed._row("a page", [next(speed.pages())], 3, engines())
    assert (name, frames) == ("a page", "3")
    assert 0 < float(median) <= float(slowest)
