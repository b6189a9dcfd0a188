"""Files of words: each table has words, once each, and is used by the code."""

import re
from pathlib import Path

import pytest

from pipeguard.detect import words
from pipeguard.detect.words import Words
from tests.each import each, some

FOLDER = Path(words.__file__).parent
# The tables of tool_languages.txt, in small letters, are used as a whole.
FILES = {path.stem: getattr(words, path.stem) for path in sorted(FOLDER.glob("*.txt"))}
CODE = "\n".join(path.read_text("utf-8") for path in sorted(FOLDER.parents[1].rglob("*.py")))
USED = {*re.findall(r"\w+", CODE)}
INCLUDED = {*re.findall(r"@(\w+)", "\n".join(p.read_text("utf-8") for p in FOLDER.glob("*.txt")))}


@each("file", FILES)
def test_each_table_has_words_once_and_is_used(file: Words) -> None:
    for table, entries in some(file.tables().items()):
        assert entries
        assert len(entries) == len(set(entries)), table
        assert table in INCLUDED | USED or table.islower(), table


def test_a_table_has_what_it_includes_and_no_comment() -> None:
    credentials = FILES["credentials"]
    assert credentials.in_order("COMMON") == ("token", "secret", "password", "passwd")
    assert credentials.COMMON_PARTS <= credentials.KEYS
    assert "#" not in "".join(credentials.in_order("KEYS"))


def test_what_is_no_table_is_an_error() -> None:
    with pytest.raises((AttributeError, KeyError)):
        getattr(FILES["credentials"], "NO_TABLE")  # noqa: B009  as a module's code asks for it
