"""Each word, in a secret's place, makes a placeholder of it."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.placeholders import is_placeholder, is_weak_password
from pipeguard.detect.words import placeholders
from tests.detect.words.proof import NO_WORD, Proof, matching, tables, unproved
from tests.each import each
from tests.fuzz.budget import tried

RANDOM = "kZ8qXw9vTt4r"
EXPRESSIONS: Mapping[str, Proof] = {
    "ANYWHERE": lambda word: is_placeholder(f"zq7{word}9k".encode()),
    "ALONE": lambda word: is_placeholder(f"zq-{word}-7k".encode()),
    "OBJECTS": lambda word: is_placeholder(f"{word}.{RANDOM}".encode()),
    "VAULTS": lambda word: is_placeholder(f"{word}://{RANDOM}".encode()),
    "NAME_ENDINGS": lambda word: is_placeholder(f"KEYSTONE_DB{word}".encode()),
}


@each("table", list(EXPRESSIONS))
@tried(10)
@given(st.data())
def test_what_an_entry_matches_is_a_placeholder(table: str, data: st.DataObject) -> None:
    for entry in getattr(placeholders, table):
        text = data.draw(matching(entry))
        assert EXPRESSIONS[table](text), text
    assert not EXPRESSIONS[table](NO_WORD)


def test_each_weak_password_is_one_in_any_case() -> None:
    words = placeholders.WEAK_PASSWORDS
    assert unproved(words, lambda word: is_weak_password(word.upper().encode())) == []


def test_every_table_has_a_proof() -> None:
    assert tables(placeholders) == EXPRESSIONS.keys() | {"WEAK_PASSWORDS"}
