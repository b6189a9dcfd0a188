"""Each stem of another language has its meaning, which is a word that tools are labelled by."""

from pipeguard.detect.flows.tool_labels import meanings
from pipeguard.detect.words import tools
from pipeguard.detect.words.tool_languages import STEMS
from tests.detect.words.proof import NO_WORD, tables
from tests.each import each


@each("meaning", list(STEMS))
def test_each_stem_has_its_meaning(meaning: str) -> None:
    unread = [stem for stem in STEMS[meaning].split() if meaning not in meanings(stem.strip("_"))]
    assert unread == []


def test_another_word_has_none() -> None:
    assert meanings(NO_WORD) == frozenset()


def test_each_meaning_is_a_word_of_some_table() -> None:
    known = frozenset[str]().union(*(getattr(tools, table) for table in tables(tools)))
    assert STEMS.keys() - known == set()
