"""Every conversation goes as its file says; between them they say all that was promised.

Holds that no row of the list of hostile input, and no method of any revision, is left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conversation import paths, play


@pytest.mark.parametrize("path", paths(), ids=lambda path: str(path.stem))
def test_goes_as_its_file_says(path: Path) -> None:
    assert play(path).verdicts
