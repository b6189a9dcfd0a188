"""A small neural network that re-scores borderline pieces, run with numpy.

A classifier (core.model.classifier) adds up words, each for itself. The network sees each word in
its context, and words of similar meaning weigh alike. It takes a third of a millisecond a sentence,
several times as much as the classifier, and so reads only the sentences that the classifier is not
sure are harmless. training/network.py makes the weights; the classifier's file names their file.
Imported at its first use, since numpy takes 70 ms to import.

Embedding, four residual 1-D convolutions (kernel 3, dilation 1, 2, 4, 8), max and mean pooling, one
linear head per output: one for results, one for definitions. The texts of a batch stand in one row,
with gaps between them, so that nothing is computed for padding. The axes of arrays are the parts of
words and the channels. Knows no rules.
Sources of the form: F. Yu, V. Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions"
(2016); Y. Wu et al., "Google's Neural Machine Translation System" (2016), parts of words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.model.normal_form import plain

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Steps: TypeAlias = "np.ndarray[Any, np.dtype[np.int8]]"

MAX_PARTS = 80  # of a text; the rest is not read
BATCH = 8  # texts that are read together: more of them do not fit the caches
CACHED_WORDS = 8192
MAX_PARTS_OF_WORD = 8
MAX_LETTERS_OF_PART = 24
KERNEL = 3  # adjacent parts that a convolution sees
HEAD_BYTES = 4  # contain the length of the description
PADDING, UNKNOWN, NUMBER = 0, 1, 2  # parts that are none: past the end, unknown letters, a number
INSIDE = "##"  # before a part that does not begin a word

_TOKEN = lazy_regex(
    r"[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+|[\u3040-\u30ff\u3400-\u9fff]|[^\w\s]|_"
)
_ADDRESS = lazy_regex(r"https?://\S+|www\.\S+")
_MAIL = lazy_regex(r"[\w.+-]+@[\w-]+\.[\w.-]+")


class Vocabulary:
    """Parts of words, and their numbers."""

    def __init__(self, parts: Sequence[str]) -> None:
        """Take the parts in the order of their numbers; the first three are none."""
        self._numbers = {part: number for number, part in enumerate(parts) if number > NUMBER}
        self._of_word = lru_cache(CACHED_WORDS)(self._parts)

    def numbers(self, text: str) -> list[int]:
        """The parts of a text; an address is one word."""
        numbers: list[int] = []
        for token in tokens(text):
            numbers += self._of_word(token)
            if len(numbers) >= MAX_PARTS:
                break
        return numbers[:MAX_PARTS] or [UNKNOWN]

    def _parts(self, word: str) -> tuple[int, ...]:
        """The parts of a word, from its beginning on the longest that are known."""
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
                return (*numbers, UNKNOWN)
            numbers.append(number)
            start = end
        return tuple(numbers)


def tokens(text: str) -> list[str]:
    """The words, numbers, ideographs and signs of a text, in lower case."""
    return _TOKEN.findall(_MAIL.sub(" email ", _ADDRESS.sub(" website ", plain(text))))


class Network:
    """Weights, and the vocabulary that they are for.

    Attributes:
        outputs: their names.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        """Take what training/network.py wrote.

        Args:
            content: the length of a description; the description, in JSON; all weights, one byte
                each. The description has the shapes of the weights, and their steps: the values
                of a byte of one.

        Raises:
            ValueError, KeyError, TypeError: the content is no network.
        """
        size = int.from_bytes(content[:HEAD_BYTES], "little")
        about = json.loads(bytes(content[HEAD_BYTES : HEAD_BYTES + size]))
        self._vocabulary = Vocabulary(about["words"])
        self.outputs: list[str] = about["outputs"]
        tensors = dict(_tensors(about["tensors"], content[HEAD_BYTES + size :]))
        # Most weights are embeddings, of which a text needs few: these stay bytes.
        self._embeddings, self._embedding_step = tensors.pop("words")
        weights = {name: step * steps for name, (steps, step) in tensors.items()}
        self._layers = [
            (weights[f"{number}.weights"], weights[f"{number}.bias"])
            for number in range(about["layers"])
        ]
        self._head, self._bias = weights["told"], weights["bias"]
        if len(about["words"]) != len(self._embeddings):
            raise ValueError("each part of a word needs an embedding")
        if len(self.outputs) != len(self._bias):
            raise ValueError("each output needs a name")

    def scores(self, texts: Sequence[str], output: str) -> list[float]:
        """How sure it is that each text is an order to the model, in logits.

        Raises:
            ValueError: there is no such output.
        """
        column = self.outputs.index(output)
        numbers = [self._vocabulary.numbers(text) for text in texts]
        scores: list[float] = []
        for first in range(0, len(numbers), BATCH):
            scores += self._logits(numbers[first : first + BATCH])[:, column].tolist()
        return scores

    def _logits(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Of each text of a batch, a number for each output.

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
        # What is in the gap is zero; `reduceat` needs an end for the last text, and has one there.
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


def _tensors(
    described: Sequence[dict[str, Any]], content: bytes | memoryview
) -> Iterator[tuple[str, tuple[Steps, np.float32]]]:
    """The name of each tensor, its values in steps, and the size of a step."""
    at = 0
    for tensor in described:
        shape = tuple(map(int, tensor["shape"]))
        size = int(np.prod(shape))
        steps = np.frombuffer(content, np.int8, size, at).reshape(shape)
        yield str(tensor["name"]), (steps, np.float32(float(tensor["step"])))
        at += size
    if at != len(content):
        raise ValueError("more weights than are described")
