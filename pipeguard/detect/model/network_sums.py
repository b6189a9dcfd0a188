"""The arithmetic of detect.model.network in numpy, the same as in `_network.c`.

The texts of a batch are one row, with gaps between them, so that nothing is computed for
padding. The axes of arrays are the parts of words and the channels.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from pipeguard.detect.model.network_weights import (
    INSIDE,
    KERNEL,
    MAX_PARTS,
    NUMBER,
    PADDING,
    UNKNOWN,
    NetworkWeights,
    list_parts,
)

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"

BATCH = 8  # texts that are read together: more of them do not fit the caches
CACHED_WORDS = 8192
MAX_PARTS_OF_WORD = 8
MAX_LETTERS_OF_PART = 24


class Vocabulary:
    """Parts of words, and their numbers."""

    def __init__(self, parts: Iterable[str]) -> None:
        """Number the parts in their order; the first three are not real ones."""
        self._numbers = {part: number for number, part in enumerate(parts) if number > NUMBER}
        self._of_word = lru_cache(CACHED_WORDS)(self._parts)

    def numbers(self, tokens: Sequence[str]) -> list[int]:
        """The parts of the tokens of a text."""
        numbers: list[int] = []
        for token in tokens:
            numbers += self._of_word(token)
            if len(numbers) >= MAX_PARTS:
                break
        return numbers[:MAX_PARTS] or [UNKNOWN]

    def _parts(self, word: str) -> tuple[int, ...]:
        """The parts of a word: from its beginning on, the longest known ones."""
        if word.isdecimal():
            return (NUMBER,)
        numbers: list[int] = []
        start = 0
        while start < len(word) and len(numbers) < MAX_PARTS_OF_WORD:
            mark = INSIDE if start else ""
            for end in range(min(len(word), start + MAX_LETTERS_OF_PART), start, -1):
                number = self._numbers.get(mark + word[start:end])
                if number is not None:
                    break
            else:
                return *numbers, UNKNOWN
            numbers.append(number)
            start = end
        return tuple(numbers)


class NetworkSums:
    """Weights as arrays, and their vocabulary."""

    def __init__(self, weights: NetworkWeights) -> None:
        """Convert all weights to floats, except the embeddings, of which a text needs few."""
        self._vocabulary = Vocabulary(list_parts(weights))
        steps = np.frombuffer(weights.steps, np.float32)
        values = np.frombuffer(weights.values, np.int8)
        shapes = weights.sizes.shapes()
        ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        tensors = [
            tensor.reshape(shape)
            for tensor, shape in zip(np.split(values, ends), shapes, strict=True)
        ]
        self._embeddings, self._embedding_step = tensors[0], steps[0]
        floats = [step * tensor for step, tensor in zip(steps[1:], tensors[1:], strict=True)]
        *layers, self._head, self._bias = floats
        self._layers = list(zip(layers[::2], layers[1::2], strict=True))

    def logits(self, texts: Sequence[Sequence[str]], output: int) -> list[float]:
        """The logits of one output for texts given as lists of tokens."""
        numbers = [self._vocabulary.numbers(text) for text in texts]
        found = []
        for first in range(0, len(numbers), BATCH):
            found += self._logits(numbers[first : first + BATCH])[:, output].tolist()
        return found

    def _logits(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Compute a number for each output, for each text of a batch.

        The texts are one row, with a gap between them as wide as the farthest part that is seen.
        """
        gap = [PADDING] * 2 ** (len(self._layers) - 1)
        row = np.array([number for text in batch for number in (*text, *gap)])
        lengths = np.array([len(text) for text in batch])
        starts = np.cumsum(lengths + len(gap)) - lengths - len(gap)
        is_part = np.zeros((len(row), 1), np.float32)
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            is_part[start : start + length] = 1
        state: Floats = self._embeddings[row] * (is_part * self._embedding_step)
        for index, (weights, bias) in enumerate(self._layers):
            seen = _with_neighbours(state, 2**index) @ weights
            seen += bias
            _gelu(seen)
            seen *= is_part
            state = np.add(state, seen, out=seen) if index else seen
        bounds = np.stack((starts, starts + lengths), 1).ravel()
        # The gap is zero; `reduceat` needs an end for the last text, and has one there.
        most = np.maximum.reduceat(state, bounds)[::2]
        mean = np.add.reduceat(state, bounds)[::2] / lengths[:, None].astype(np.float32)
        logits: Floats = np.concatenate([most, mean], 1) @ self._head + self._bias
        return logits


def _with_neighbours(state: Floats, dilation: int) -> Floats:
    """Each part next to the parts before and after it, at the distance of the dilation."""
    parts, width = state.shape
    wide = np.zeros((parts, KERNEL * width), np.float32)
    wide[dilation:, :width] = state[:-dilation]
    wide[:, width : 2 * width] = state
    wide[:-dilation, 2 * width :] = state[dilation:]
    return wide


def _gelu(state: Floats) -> None:
    """Apply GELU in place, approximated with `tanh` (D. Hendrycks, K. Gimpel, 2016)."""
    half = state * state
    half *= 0.044715
    half += 1
    half *= state
    half *= 0.7978845608
    np.tanh(half, out=half)
    half += 1
    half *= 0.5
    state *= half
