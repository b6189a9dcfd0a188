"""`python -m training.neighbours MODEL WORDS...`: the words nearest in meaning to each other.

Writes `pipeguard/gateway/neighbours.bin`, with which `retrieve_tools` finds a tool whose author
took another word. MODEL is a folder with all-MiniLM-L6-v2 (`model.safetensors`, `tokenizer.json`);
WORDS are lists, one word a line: of Debian's `wamerican-small` all words count, of further lists
those that the model has a number of their own for. Needs numpy alone; two minutes of CPU time.
"""

import json
import re
import struct
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeguard.gateway import neighbours
from pipeguard.gateway.concepts import Stems
from pipeguard.gateway.neighbours import MOST_NEIGHBOURS, NEIGHBOUR_ROW, STOP_WORDS, SYNONYMS

LEAST_LIKENESS = 0.5
BATCH = 512
HEADS, LAYERS = 12, 6
_WORD = re.compile(r"[a-z]{3,24}")

Numbers = NDArray[np.float32]


class Model:
    """all-MiniLM-L6-v2, by its published weights: words in, unit vectors out."""

    def __init__(self, folder: Path) -> None:
        """Read the weights and the vocabulary."""
        raw = (folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack_from("<Q", raw)
        described = json.loads(raw[8 : 8 + length])
        described.pop("__metadata__", None)
        self._weights: dict[str, Numbers] = {}
        for name, tensor in described.items():
            if tensor["dtype"] == "F32":
                begin, end = (8 + length + offset for offset in tensor["data_offsets"])
                values = np.frombuffer(raw[begin:end], np.float32)
                self._weights[name] = values.reshape(tensor["shape"])
        tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        self.vocabulary: Mapping[str, int] = tokenizer["model"]["vocab"]

    def vectors(self, words: list[str]) -> Numbers:
        """The meaning of each word, as a vector of length 1."""
        pieces = [self._pieces(word) for word in words]
        found = np.zeros((len(words), len(self._weights["embeddings.LayerNorm.bias"])), np.float32)
        for count in {len(numbers) for numbers in pieces}:
            places = [place for place, numbers in enumerate(pieces) if len(numbers) == count]
            for start in range(0, len(places), BATCH):
                batch = places[start : start + BATCH]
                found[batch] = self._embed(np.array([pieces[place] for place in batch]))
        return found

    def _pieces(self, word: str) -> list[int]:
        """A word as the model reads it: the longest pieces first (WordPiece)."""
        numbers, at = [self.vocabulary["[CLS]"]], 0
        while at < len(word):
            ends = range(len(word), at, -1)
            pieces = ((f"{'##' if at else ''}{word[at:end]}", end) for end in ends)
            piece, at = next(pair for pair in pieces if pair[0] in self.vocabulary)
            numbers.append(self.vocabulary[piece])
        return [*numbers, self.vocabulary["[SEP]"]]

    def _embed(self, numbers: NDArray[np.int64]) -> Numbers:
        weights = self._weights
        state = (
            weights["embeddings.word_embeddings.weight"][numbers]
            + weights["embeddings.position_embeddings.weight"][: numbers.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._norm(state, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            seen = self._linear(self._attend(state, name), f"{name}.attention.output.dense")
            state = self._norm(state + seen, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(state, f"{name}.intermediate.dense"))
            more = self._linear(inner, f"{name}.output.dense")
            state = self._norm(state + more, f"{name}.output.LayerNorm")
        mean: Numbers = state.mean(1)
        unit: Numbers = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return unit

    def _attend(self, state: Numbers, layer: str) -> Numbers:
        count, length, width = state.shape
        query, key, value = (
            self._linear(state, f"{layer}.attention.self.{part}")
            .reshape(count, length, HEADS, -1)
            .transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(np.float32(width // HEADS)))
        scores /= scores.sum(-1, keepdims=True)
        seen: Numbers = (scores @ value).transpose(0, 2, 1, 3).reshape(count, length, width)
        return seen

    def _linear(self, state: Numbers, name: str) -> Numbers:
        rows: Numbers = state.reshape(-1, state.shape[-1]) @ self._weights[f"{name}.weight"].T
        rows += self._weights[f"{name}.bias"]
        return rows.reshape(*state.shape[:-1], -1)

    def _norm(self, state: Numbers, name: str) -> Numbers:
        centred = state - state.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        scaled: Numbers = centred / scale * self._weights[f"{name}.weight"]
        scaled += self._weights[f"{name}.bias"]
        return scaled


def _gelu(state: Numbers) -> Numbers:
    """GELU in its form with tanh, which is within 0.001 of the exact one."""
    inner = np.sqrt(np.float32(2 / np.pi)) * (state + np.float32(0.044715) * state**3)
    found: Numbers = state * np.float32(0.5) * (1 + np.tanh(inner))
    return found


def representatives(words: Iterable[str], vocabulary: Mapping[str, int]) -> dict[str, str]:
    """Of each stem the word that stands for it: the most frequent, by the model's vocabulary."""
    stems = Stems()
    by_stem: dict[str, list[str]] = {}
    for word in sorted({word for word in words if _WORD.fullmatch(word)} - STOP_WORDS):
        by_stem.setdefault(stems[word], []).append(word)
    return {
        stem: min(group, key=lambda word: (vocabulary.get(word, len(vocabulary)), len(word), word))
        for stem, group in sorted(by_stem.items())
    }


def nearest(vectors: Numbers) -> Iterator[list[tuple[int, int]]]:
    """The nearest others of each vector: their places, and likenesses from 0 to 255."""
    for start in range(0, len(vectors), BATCH):
        likeness: NDArray[Any] = vectors[start : start + BATCH] @ vectors.T
        for row, values in enumerate(likeness):
            values[start + row] = 0
            best = np.argsort(-values, kind="stable")[:MOST_NEIGHBOURS]
            yield [
                (int(at), round(float(values[at]) * 255))
                for at in best
                if values[at] >= LEAST_LIKENESS
            ]


def main(model: Path, small: Path, *larger: Path) -> None:
    """Write the table."""
    known = Model(model)
    words = [*small.read_text("utf-8").split(), *SYNONYMS]
    for path in larger:
        words += [word for word in path.read_text("utf-8").split() if word in known.vocabulary]
    chosen = representatives(words, known.vocabulary)
    rows = bytearray()
    for found in nearest(known.vectors(list(chosen.values()))):
        padded = found + [(0, 0)] * (MOST_NEIGHBOURS - len(found))
        rows += NEIGHBOUR_ROW.pack(*(at for at, _ in padded), *(like for _, like in padded))
    packed = zlib.compress(" ".join(chosen).encode() + b"\n" + bytes(rows), 9)
    Path(neighbours.__file__).with_name("neighbours.bin").write_bytes(packed)
    print(  # noqa: T201  the command's answer
        f"{len(chosen):,} stems of {len(set(words)):,} words, {len(packed):,} bytes"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
