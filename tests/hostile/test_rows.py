"""Every row of the table about HTTP has a test that names it."""

import re
from pathlib import Path

ROWS = range(72, 97)


def test_every_row_has_a_test() -> None:
    here = Path(__file__).parent
    texts = [path.read_text("utf-8") for path in here.glob("test_*.py")]
    named = {int(row) for text in texts for row in re.findall(r"def test_(\d\d)_", text)}
    assert named == set(ROWS)
