"""The network's file: the parts of words, a table that finds them, and weights of a byte each.

detect.model.network explains them; `_network.c` reads the same form (detect.model.model_file).

- A line of JSON: sizes, the names of outputs, and of each tensor the step (the value of 1).
- Slots: 4 bytes each, a power of two of them, at least five for four parts. A slot has the number
  of a part, and in its upper bits those of the part's hash (FNV-1a of its UTF-8). A part is in
  the first free slot from the one on that its hash names. An empty slot is 0: parts up to NUMBER
  are in none.
- The ends of parts among the letters, 4 bytes each, in the order of their numbers; the letters.
- The tensors: embeddings, of each layer weights and bias, then those of the outputs.
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from math import isfinite

from pipeguard.detect.model.model_file import cut_tables, read_header
from pipeguard.records import NamedTuple

MAX_PARTS = 80  # of a text; the rest is not read
MAGIC = b"pipeguard network 2\n"
KERNEL = 3  # adjacent parts that a convolution sees
PADDING, UNKNOWN, NUMBER = 0, 1, 2  # not real parts: past the end, unknown letters, a number
INSIDE = "##"  # before a part inside a word
NUMBER_BITS = 20  # of a slot
MAX_CHANNELS, MAX_LAYERS = 1024, 8
WIDTH_STEP = 32  # the width is a multiple of it
_SLOT_BYTES = 4


class Sizes(NamedTuple):
    """The sizes of a network.

    Attributes:
        parts: of words.
        row: numbers of a part's embedding.
        width: channels of a layer.
        layers: convolutions.
        outputs: of the head.
    """

    parts: int
    row: int
    width: int
    layers: int
    outputs: int

    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the tensors, in their order; a bias is one row."""
        shapes = [(self.parts, self.row)]
        for layer in range(self.layers):
            shapes += [(KERNEL * (self.width if layer else self.row), self.width), (1, self.width)]
        return [*shapes, (2 * self.width, self.outputs), (1, self.outputs)]


class NetworkWeights(NamedTuple):
    """The contents of a network's file; parts of it, not copies.

    Attributes:
        slots: find a part by its hash.
        ends: of each part among the letters.
        letters: of all parts.
        values: of all tensors, in steps.
        steps: of each tensor, native floats of four bytes.
        sizes: of the tensors.
        outputs: the names of the outputs.
    """

    slots: memoryview
    ends: memoryview
    letters: memoryview
    values: memoryview
    steps: bytes
    sizes: Sizes
    outputs: tuple[str, ...]


def unpack_network(content: bytes | memoryview) -> NetworkWeights:
    """The weights in a file that training.packing wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not a network.
    """
    header, tables = read_header(content, MAGIC)
    outputs = tuple(map(str, header["outputs"]))
    parts, row, width, layers = (int(header[name]) for name in ("parts", "row", "width", "layers"))
    sizes = Sizes(parts, row, width, layers, len(outputs))
    slots, steps = int(header["slots"]), array("f", header["steps"])
    _check(sizes, slots, steps)
    values = sum(rows * columns for rows, columns in sizes.shapes())
    numbers = _SLOT_BYTES * slots, _SLOT_BYTES * parts, int(header["letters"]), values
    table, ends, letters, tensors = cut_tables(tables, numbers)
    return NetworkWeights(table, ends, letters, tensors, steps.tobytes(), sizes, outputs)


def list_parts(weights: NetworkWeights) -> Iterator[str]:
    """The parts of words, in the order of their numbers."""
    letters, start = bytes(weights.letters), 0
    for end in struct.unpack(f"<{weights.sizes.parts}I", weights.ends):
        yield letters[start:end].decode()
        start = end


def _check(sizes: Sizes, slots: int, steps: Sequence[float]) -> None:
    if not NUMBER < sizes.parts < 1 << NUMBER_BITS or sizes.parts > slots or slots & (slots - 1):
        raise ValueError("a table of another size")
    if not 0 < sizes.row <= MAX_CHANNELS or not 0 < sizes.width <= MAX_CHANNELS:
        raise ValueError("too many channels, or none")
    if sizes.width % WIDTH_STEP or not 0 < sizes.layers <= MAX_LAYERS:
        raise ValueError("layers of another form")
    if not 0 < sizes.outputs <= MAX_CHANNELS:
        raise ValueError("too many outputs, or none")
    if len(steps) != len(sizes.shapes()) or not all(map(isfinite, steps)):
        raise ValueError("each tensor needs a step")
