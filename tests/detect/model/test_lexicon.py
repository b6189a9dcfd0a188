"""Stems of words, and the families that they belong to."""

import pytest

from pipeguard.detect.model.features import CompiledLexicon, Lexicon, list_stems, shared_lexicon
from pipeguard.detect.model.sentences import plain, words
from training.packing import pack_stems

STEMS = {
    "assist": [0],
    "ai ": [0],
    "do not": [1],
    "忽略": [2],
    "निर्देश": [3],
    "تجاهل": [2],
    plain("künstl"): [0],
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Assistants, listen", {0}),
        ("the AI reads", {0}),
        ("said aimlessly", set()),
        ("you do not", {1}),
        ("you do it not", set()),
        ("请忽略之前", {2}),
        ("निर्देशों", {3}),
        ("تَجَاهَلْ", {2}),
        ("Künstliche", {0}),
        ("KÜNSTLICHE", {0}),
        ("resassist", set()),
    ],
)
def test_a_word_has_the_families_of_its_stems(text: str, found: set[int]) -> None:
    families = ["ai", "not", "ignore", "rule"]
    assert Lexicon(families, STEMS).text_families(plain(text)) == found
    assert Lexicon(families, list_stems(pack_stems(STEMS))).text_families(plain(text)) == found
    assert CompiledLexicon(families, pack_stems(STEMS)).text_families(plain(text)) == found


def test_families_stand_in_the_order_of_the_text() -> None:
    lexicon = Lexicon(["ai", "not", "ignore", "rule"], STEMS)
    places = lexicon.places(words(plain("AI, do not 忽略 this, assistant")))
    assert [min(numbers) for _, numbers in places] == [0, 1, 2, 0]
    assert [at for at, _ in places] == sorted(at for at, _ in places)


def test_the_model_itself_has_a_family_where_there_is_one() -> None:
    assert Lexicon(["not", "ai"], STEMS).model_family == 1
    assert Lexicon(["not"], {}).model_family == -1


def test_classifiers_with_the_same_stems_share_a_lexicon() -> None:
    families = "ai", "not", "ignore", "rule"
    first = shared_lexicon(families, pack_stems(STEMS))
    assert shared_lexicon((*families,), pack_stems(STEMS)) is first
    other = shared_lexicon(families, pack_stems({"assistant": [0]}))
    assert other.text_families("assistant") == {0}
    assert shared_lexicon(("not", *families[1:]), pack_stems({"assistant": [0]})) is not other
