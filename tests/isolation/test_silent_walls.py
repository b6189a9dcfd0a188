"""Folders among the arguments of a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.each import each
from tests.isolation.test_walls import AUTO, FAILING, call, texts
from tests.isolation.test_wrapped import Isolated

pytestmark = pytest.mark.needs("bubblewrap")


@each("word", ["notes", "./notes", "--root=notes"])
def test_a_folder_among_arguments_needs_no_slash(word: str, tmp_path: Path) -> None:
    options = (*AUTO, "--cwd", "home")
    one = tmp_path / "home" / "notes" / "one"
    with Isolated(tmp_path, *options, command=(*FAILING, word, "notes")) as run:
        assert texts(call(run.ready(), "read_in_own_folders", one)) == ["first note"]
