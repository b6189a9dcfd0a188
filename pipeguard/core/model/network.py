"""A second reading of what may be an order to the model: a small neural network, run with numpy.

A classifier (core.model.classifier) adds up words, each for itself; here each word is seen in the
light of those around it, and words that mean much the same weigh much the same. It costs a third of
a millisecond a sentence, several times as much, and is asked only of those that the classifier
is not sure are no order. The weights are made by training/network.py; the classifier's file names
theirs. This module is imported where it is first asked, since numpy costs a start 70 ms.

Form: a row of numbers for each part of a word; convolutions of three, each twice as far apart as
the one before; of what they see the most and the mean; a weighted sum of these for each output,
that of what results say and that of what definitions do.
Shapes: texts of a batch, parts of words, numbers of each. Knows no rules.
Sources of the form: F. Yu, V. Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions"
(2016); Y. Wu et al., "Google's Neural Machine Translation System" (2016), parts of words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from pipeguard.core.model.normal_form import plain

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Steps: TypeAlias = "np.ndarray[Any, np.dtype[np.int8]]"

MAX_PARTS = 80  # of a text; what follows is not read
TOGETHER = 16  # texts that are read at once, of about one length
REMEMBERED = 8192  # words
MOST_OF_WORD = 8  # parts
LONGEST_PART = 24  # letters
REACH = 3  # parts that a convolution sees
HEAD_BYTES = 4  # that tell how long the description is
NONE, UNKNOWN, DIGITS = 0, 1, 2  # numbers of what is no part: nothing, what is not known, a number
INSIDE = "##"  # before a part that does not begin a word

_TOKEN = re.compile(
    r"[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+|[\u3040-\u30ff\u3400-\u9fff]|[^\w\s]|_"
)
_ADDRESS = re.compile(r"https?://\S+|www\.\S+")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")


class Words:
    """Parts of words, and the number of each."""

    def __init__(self, parts: Sequence[str]) -> None:
        """Take them in their order; what stands for no part comes first."""
        self._known = {part: number for number, part in enumerate(parts) if number > DIGITS}
        self._of = lru_cache(REMEMBERED)(self._parts)

    def numbers(self, text: str) -> list[int]:
        """The parts that a text is made of, addresses each as one word."""
        found: list[int] = []
        for token in tokens(text):
            found += self._of(token)
            if len(found) >= MAX_PARTS:
                break
        return found[:MAX_PARTS] or [UNKNOWN]

    def _parts(self, word: str) -> tuple[int, ...]:
        """The longest known parts of a word, from its beginning on."""
        if word.isdecimal():
            return (DIGITS,)
        found: list[int] = []
        start = 0
        while start < len(word) and len(found) < MOST_OF_WORD:
            mark = INSIDE if start else ""
            for end in range(min(len(word), start + LONGEST_PART), start, -1):
                number = self._known.get(mark + word[start:end])
                if number is not None:
                    break
            else:
                return (*found, UNKNOWN)
            found.append(number)
            start = end
        return tuple(found)


def tokens(text: str) -> list[str]:
    """Words, numbers, ideographs and marks, in small letters."""
    return _TOKEN.findall(_MAIL.sub(" email ", _ADDRESS.sub(" website ", plain(text))))


class Network:
    """Weights, and the parts of words that they are for."""

    def __init__(self, content: bytes) -> None:
        """Take what training/network.py wrote.

        Args:
            content: the length of a description; the description, in JSON; all weights, one byte
                each, of which the description tells the shapes and what a step is worth.

        Raises:
            ValueError, KeyError, TypeError: it is none.

        Attributes:
            outputs: the names of what it says of a text.
        """
        size = int.from_bytes(content[:HEAD_BYTES], "little")
        about = json.loads(content[HEAD_BYTES : HEAD_BYTES + size])
        self._words = Words(about["words"])
        self.outputs: list[str] = about["outputs"]
        steps = dict(_steps(about["tensors"], content[HEAD_BYTES + size :]))
        self._rows, self._step = steps.pop("words")  # most of all weights, of which few are read
        tensors = {name: worth * each for name, (each, worth) in steps.items()}
        self._layers = [
            (tensors[f"{number}.weights"], tensors[f"{number}.bias"])
            for number in range(about["layers"])
        ]
        self._told, self._bias = tensors["told"], tensors["bias"]
        if len(about["words"]) != len(self._rows):
            raise ValueError("a row for each part of a word is wanted")
        if len(self.outputs) != len(self._bias):
            raise ValueError("a name for each output is wanted")

    def scores(self, texts: Sequence[str], output: str) -> list[float]:
        """How sure it is of each text that it is an order to the model, in logits.

        Raises:
            ValueError: it has no such output.
        """
        column = self.outputs.index(output)
        read = [self._words.numbers(text) for text in texts]
        scores = [0.0] * len(read)
        order = sorted(range(len(read)), key=lambda index: len(read[index]))
        for first in range(0, len(order), TOGETHER):
            batch = order[first : first + TOGETHER]
            told = self._read([read[index] for index in batch])
            for index, score in zip(batch, told[:, column], strict=True):
                scores[index] = float(score)
        return scores

    def _read(self, batch: Sequence[Sequence[int]]) -> Numbers:
        longest = max(map(len, batch))
        numbers = np.array([[*one, *[NONE] * (longest - len(one))] for one in batch])
        is_there = (numbers != NONE)[..., None].astype(np.float32)
        state: Numbers = self._rows[numbers] * (is_there * self._step)
        for index, (weights, bias) in enumerate(self._layers):
            wide = _around(state, 2**index)
            seen = (wide.reshape(-1, len(weights)) @ weights).reshape(*wide.shape[:2], -1)
            seen += bias
            _gelu(seen)
            seen *= is_there
            state = np.add(state, seen, out=seen) if index else seen
        most = np.where(is_there > 0, state, -np.inf).max(1)
        mean = state.sum(1) / is_there.sum(1)
        told: Numbers = np.concatenate([most, mean], 1) @ self._told + self._bias
        return told


def _around(state: Numbers, apart: int) -> Numbers:
    """Each part with the one before it and the one behind it, so far apart."""
    texts, parts, width = state.shape
    wide = np.zeros((texts, parts, REACH * width), np.float32)
    wide[:, apart:, :width] = state[:, :-apart]
    wide[:, :, width : 2 * width] = state
    wide[:, :-apart, 2 * width :] = state[:, apart:]
    return wide


def _gelu(state: Numbers) -> None:
    """In place, as D. Hendrycks and K. Gimpel have it, by their formula with `tanh` (2016)."""
    half = state * state
    half *= 0.044715
    half += 1
    half *= state
    half *= 0.7978845608
    np.tanh(half, out=half)
    half += 1
    half *= 0.5
    state *= half


def _steps(
    described: Sequence[dict[str, Any]], content: bytes
) -> Iterator[tuple[str, tuple[Steps, np.float32]]]:
    """Each tensor of the file by its name, in steps, and what a step is worth."""
    at = 0
    for one in described:
        shape = tuple(map(int, one["shape"]))
        size = int(np.prod(shape))
        steps = np.frombuffer(content, np.int8, size, at).reshape(shape)
        yield str(one["name"]), (steps, np.float32(float(one["step"])))
        at += size
    if at != len(content):
        raise ValueError("more weights than are described")
