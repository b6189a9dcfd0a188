"""Texts and weights for the tests of the opener."""

from functools import cache
from random import Random

from hypothesis import strategies as st

from pipeguard.detect.model.opener_weights import GRAM_BITS, WORD_BITS, Weights

# Texts in which words, marks and ends of sentences are close, with letters of every length.
SOUNDS = st.sampled_from(
    ["a", "Order", " ", "  ", "\n", ". ", "! ", "?\t", "。", "।", "！", "#", "##", "<>", "0", "98"]
)
TEXTS = st.lists(SOUNDS | st.text(max_size=8) | st.just("x" * 70), max_size=200).map("".join)


@cache
def any_weights(threshold: float = -2.0) -> Weights:
    """Weights without meaning, of every size."""
    dice = Random(1)  # noqa: S311  the same on every run
    words, grams = dice.randbytes(1 << WORD_BITS), dice.randbytes(1 << GRAM_BITS)
    return Weights(words, grams, 0.01, -1.0, threshold)
