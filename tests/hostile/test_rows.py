"""Every row of the table about HTTP has a test that names it."""

import re
from pathlib import Path

ROWS = range(72, 97)


def test_every_row_has_a_test() -> None:
    here = Path(__file__).parent
    texts = [path.read_text("utf-8") for path in here.glob("test_*.py")]
    named = re.findall(r"def test_((?:\d\d_)+)", "".join(texts))
    assert {int(row) for rows in named for row in rows.split("_") if row} == set(ROWS)
