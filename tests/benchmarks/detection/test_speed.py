"""What is measured is what it is called, and of the size that is told."""

import json

from benchmarks.detection import speed
from benchmarks.frames.corpus import MEGABYTE
from tests.fuzz.rulebook import engines


def test_pages_differ() -> None:
    pages = [json.dumps(page) for page in speed.pages()]
    assert len(set(pages)) == speed.SMALL
    assert all(len(page) >= speed.SMALL_BYTES for page in pages)


def test_each_kind_is_about_a_megabyte() -> None:
    for name, value in speed.megabytes():
        size = len(json.dumps(value, ensure_ascii=False).encode())
        assert 0.75 * MEGABYTE < size < 1.15 * MEGABYTE, name


def test_a_row_tells_of_each_frame() -> None:
    page = next(speed.pages())
    name, median, slowest, frames = speed._row("a page", [page], 3, engines())
    assert (name, frames) == ("a page", "3")
    assert 0 < float(median) <= float(slowest)
