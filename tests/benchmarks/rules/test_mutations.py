"""Texts that are almost a given one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rules.nearness import LONGEST, MOST_MUTANTS, Mutation, mutate_span, mutate_words


def mutants(text: str, start: int = 0, end: int | None = None) -> dict[Mutation, str]:
    found = mutate_span(text, start, len(text) if end is None else end)
    return {one.mutation: one.text for one in found}


def test_each_mutation_changes_one_thing() -> None:
    assert mutants("see HERON-1239 now", 4, 14) == {
        Mutation.DIGIT: "see HERON-1230 now",
        Mutation.LETTER: "see QERON-1239 now",
        Mutation.CASE: "see heron-1239 now",
        Mutation.CUT: "see HERON-123 now",
        Mutation.SPACE: "see HERON -1239 now",
    }


def test_of_several_words_the_last_is_cut_and_spaces_are_two() -> None:
    assert mutants("queue it now") == {
        Mutation.LETTER: "kueue it now",
        Mutation.CASE: "QUEUE IT NOW",
        Mutation.CUT: "queue it",
        Mutation.SPACE: "queue  it  now",
    }


@pytest.mark.parametrize("text", ["", " ", "²", "٣", "\n\n"])
def test_odd_texts_have_few(text: str) -> None:
    assert all(changed != text for changed in mutants(text).values())


@given(st.text(max_size=40))
def test_no_mutant_is_the_text_itself(text: str) -> None:
    assert text not in mutants(text).values()
    assert sum(1 for _ in mutate_words(text)) <= MOST_MUTANTS


def test_words_are_taken_out_and_put_together() -> None:
    found = {one.text for one in mutate_words("a system (new)")}
    assert {"a system(new)", "a (new)", "A SYSTEM (NEW)"} <= found


def test_of_a_long_text_the_beginning_is_changed() -> None:
    text = "word " * LONGEST
    assert sum(1 for _ in mutate_words(text)) == MOST_MUTANTS
