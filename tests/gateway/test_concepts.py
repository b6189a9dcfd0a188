"""A query is split into concepts, each with the terms that may stand for it."""

from pipeguard.gateway.concepts import MAX_QUERY_WORDS, Concepts, Stems

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


def test_a_phrase_is_one_concept_with_what_it_stands_for() -> None:
    assert asked("get rid of the invoice") == ["get rid of", "invoice"]
    assert "delet" in terms("get rid of the invoice")


def test_a_phrase_stands_for_its_terms_and_not_the_other_way_round() -> None:
    assert "delet" in terms("chuck it out")
    assert "chuck" not in terms("delete it")


def test_the_word_itself_is_worth_more_than_what_it_stands_for() -> None:
    (concept,) = CONCEPTS.of("bin")
    assert max(concept.terms, key=concept.terms.__getitem__) == ("bin",)
