"""A query is split into concepts, each with the terms that may stand for it."""

import pytest

from pipeguard.gateway.concepts import MOST_CLAUSES, Concepts, Stems
from pipeguard.gateway.neighbours import MAX_QUERY_WORDS, MOST_NEIGHBOURS, Neighbours, is_slip

CONCEPTS = Concepts(Stems())


def asked(query: str) -> list[str]:
    return [concept.words for concept in CONCEPTS.of(query)]


def terms(query: str) -> set[str]:
    concepts = CONCEPTS.of(query)
    return {" ".join(term) for concept in concepts for term in concept.terms}


def test_a_query_is_what_tells_tools_apart() -> None:
    assert asked("Could you please merge a PR for me?") == ["merge", "pull", "request"]


def test_a_query_of_stop_words_alone_is_looked_up_all_the_same() -> None:
    assert asked("you of it") == ["you", "of", "it"]


def test_a_document_is_no_query() -> None:
    assert len(asked(" ".join(f"{a}{b}qx" for a in "abcdefgh" for b in "abcdefgh" * 2))) <= (
        MAX_QUERY_WORDS
    )


def test_a_long_request_has_clauses_and_a_short_one_has_none() -> None:
    assert CONCEPTS.of_clauses("merge the pull request") == []
    clauses = CONCEPTS.of_clauses(
        "Fetch the page. Then save it to disk; yes. Also mail a copy of it"
    )
    assert [[concept.words for concept in clause] for clause in clauses] == [
        ["fetch", "page"],
        ["save", "disk"],
        ["yes", "mail", "copy"],
    ]
    assert len(CONCEPTS.of_clauses("read one file\n" * 40)) <= MOST_CLAUSES


def test_a_word_adds_nothing_as_another_words_synonym() -> None:
    commit, history = CONCEPTS.of("commit history")
    assert ("commit",) in commit.terms
    assert ("commit",) not in history.terms
    assert ("commit",) in CONCEPTS.of("history")[0].terms


def test_a_word_that_says_nothing_is_no_phrase_of_the_same_stem() -> None:
    assert asked("can you merge it") == ["merge"]


def test_the_neighbours_of_a_word_are_near_in_meaning_and_of_the_same_stems() -> None:
    neighbours, stems = Neighbours(), Stems()
    for word, near in (("refund", "reimburse"), ("photo", "picture"), ("purchase", "bought")):
        found = dict(neighbours.of(stems[word]))
        assert found[stems[near]] >= 0.5
        assert len(found) <= MOST_NEIGHBOURS
        assert stems[word] not in found
    assert list(neighbours.of("xyzzy")) == []


@pytest.mark.parametrize(
    ("word", "other", "is_one"),
    [
        ("forcast", "forecast", True),
        ("commmit", "commit", True),
        ("brench", "branch", True),
        ("branch", "branches", False),
        ("read", "road", True),
        ("read", "rood", False),
    ],
)
def test_a_slip_is_one_letter(word: str, other: str, *, is_one: bool) -> None:
    assert is_slip(word, other) == is_slip(other, word) == is_one


def test_a_phrase_is_one_concept_with_what_it_stands_for() -> None:
    assert asked("get rid of the invoice") == ["get rid of", "invoice"]
    assert "delet" in terms("get rid of the invoice")


def test_a_phrase_stands_for_its_terms_and_not_the_other_way_round() -> None:
    assert "delet" in terms("chuck it out")
    assert "chuck" not in terms("delete it")


def test_the_word_itself_is_worth_more_than_what_it_stands_for() -> None:
    (concept,) = CONCEPTS.of("bin")
    assert max(concept.terms, key=concept.terms.__getitem__) == ("bin",)
