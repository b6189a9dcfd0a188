"""Networks without meaning, of any size, for tests."""

from functools import cache
from itertools import product
from random import Random
from struct import pack

from pipeguard.detect.model.network_weights import (
    NUMBER_BITS,
    NetworkWeights,
    Sizes,
    unpack_network,
)
from training.packing import pack_network

ALPHABET = "abcxé語"
PARTS = (
    *("[PAD]", "[UNK]", "[NUMBER]", *ALPHABET, *(f"##{letter}" for letter in ALPHABET[:-1]), "#"),
    *map("".join, product("abé", repeat=3)),
    *(f"##{a}{b}" for a, b in product("abc", repeat=2)),
)


def any_file(row: int, width: int, layers: int, outputs: int = 2) -> bytes:
    """The file of a network of these sizes."""
    dice = Random(3)  # noqa: S311  the same on every run
    sizes = Sizes(len(PARTS), row, width, layers, outputs)
    tensors = [(0.03 / layers, dice.randbytes(a * b)) for a, b in sizes.shapes()]
    return pack_network(PARTS, [f"output {number}" for number in range(outputs)], tensors, layers)


@cache
def any_weights(row: int = 16, width: int = 32, layers: int = 2) -> NetworkWeights:
    """A network of these sizes."""
    return unpack_network(any_file(row, width, layers))


def buffers(weights: NetworkWeights, **changes: object) -> tuple[object, ...]:
    """Return the arguments of the C form, optionally with other buffers or sizes."""
    named: dict[str, object] = {**weights._asdict(), **weights.sizes._asdict(), **changes}
    return tuple(named[name] for name in (*NetworkWeights._fields[:5], *Sizes._fields))


def little_endian(*numbers: int) -> bytes:
    """Pack numbers as a table stores them."""
    return pack(f"<{len(numbers)}I", *numbers)


def full_slots(number: int) -> bytes:
    """Slots that have one number for every hash."""
    return little_endian(*(high << NUMBER_BITS | number for high in range(4096)))
