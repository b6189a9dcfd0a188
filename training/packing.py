"""Writes the files of the models that detection reads (pipeguard.detect.model.model_file)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from pipeguard.detect.model import classifier, network_weights, opener_weights
from pipeguard.detect.model.features import LEAST_LETTERS, StemTable
from pipeguard.detect.model.network_weights import NUMBER, NUMBER_BITS
from pipeguard.detect.model.opener_weights import Weights
from pipeguard.detect.model.sentences import IDEOGRAPH

_SPREAD, _WORD = 0x9E3779B1, (1 << 32) - 1


def pack_opener(weights: Weights) -> bytes:
    """The content of an opener's file."""
    words, grams, scale, bias, threshold = weights
    header = {"scale": scale, "bias": bias, "threshold": threshold}
    return b"".join((opener_weights.MAGIC, json.dumps(header).encode(), b"\n", words, grams))


def pack_stems(stems: dict[str, list[int]]) -> StemTable:
    """StemTable as a classifier's file has them; `Lexicon` explains how they are written."""
    bits: dict[str, int] = {}
    for stem, numbers in stems.items():
        key = stem.strip()
        if " " not in key and not IDEOGRAPH.match(key):
            if stem.endswith(" "):
                key += "\n"
            elif len(key) < LEAST_LETTERS:
                continue
        for number in numbers:
            bits[key] = bits.get(key, 0) | 1 << number
    keys = sorted(key for key in bits if "\0" not in key)  # as UTF-8 sorts, too
    words = "".join(f"{key}\0" for key in keys).encode("utf-8", "surrogatepass")
    return StemTable(words, struct.pack(f"<{len(keys)}Q", *(bits[key] for key in keys)))


def pack_classifier(document: dict[str, Any]) -> bytes:
    """The content of a classifier's file, of the members that `unpack_classifier` returns."""
    tables = *document["stems"], document["weights"]
    header = {key: document[key] for key in document if key not in {"stems", "weights"}}
    header["tables"] = [*map(len, tables)]
    line = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join((classifier.MAGIC, line, b"\n", *tables))


def pack_network(
    parts: Sequence[str],
    outputs: Sequence[str],
    tensors: Sequence[tuple[float, bytes]],
    layers: int,
) -> bytes:
    """The content of a network's file.

    Args:
        parts: of words, in the order of their numbers.
        outputs: their names.
        tensors: the step and the values of each, in the order of `Sizes.shapes`.
        layers: convolutions.
    """
    letters = [part.encode() for part in parts]
    ends = list(accumulate(map(len, letters)))
    slots = _slots(letters)
    header = {
        "parts": len(parts),
        "row": len(tensors[0][1]) // len(parts),
        "width": len(tensors[2][1]),
        "layers": layers,
        "outputs": list(outputs),
        "slots": len(slots),
        "letters": ends[-1],
        "steps": [step for step, _ in tensors],
    }
    values = [value for _, value in tensors]
    line = json.dumps(header, separators=(",", ":")).encode()
    return b"".join(
        (network_weights.MAGIC, line, b"\n", _bytes(slots), _bytes(ends), *letters, *values)
    )


def _slots(letters: Sequence[bytes]) -> list[int]:
    """The table that finds a part."""
    bits = (5 * len(letters) // 4).bit_length()
    slots = [0] * (1 << bits)
    for number, part in enumerate(letters):
        if number > NUMBER:
            found = _hash(part)
            slot = (found * _SPREAD & _WORD) >> (32 - bits)
            while slots[slot]:
                slot = (slot + 1) % len(slots)
            slots[slot] = found >> NUMBER_BITS << NUMBER_BITS | number
    return slots


def _hash(part: bytes) -> int:
    found = 0x811C9DC5
    for byte in part:
        found = (found ^ byte) * 0x01000193 & _WORD
    return found


def _bytes(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
