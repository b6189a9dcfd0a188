"""The network's file: what is written is read again, and each part is found where its hash says."""

from struct import unpack

from pipeguard.detect.model.network import NUMBER, NUMBER_BITS, Network, list_parts, unpack_network
from tests.detect.model.networks import PARTS, any_file


def test_what_is_written_is_read_again() -> None:
    weights = unpack_network(any_file(row=8, width=64, layers=3, outputs=4))
    assert tuple(list_parts(weights)) == PARTS
    assert weights.sizes == (len(PARTS), 8, 64, 3, 4)
    assert weights.outputs == ("output 0", "output 1", "output 2", "output 3")
    assert len(weights.values) == sum(rows * columns for rows, columns in weights.sizes.shapes())
    assert unpack("9f", weights.steps)[0] == unpack("f", weights.steps[-4:])[0]


def test_a_table_has_each_part_once_and_is_some_are_empty() -> None:
    slots = unpack("<64I", unpack_network(any_file(8, 32, 1)).slots)
    numbers = sorted(slot & (1 << NUMBER_BITS) - 1 for slot in slots if slot)
    assert numbers == list(range(NUMBER + 1, len(PARTS)))


def test_the_parts_of_a_mapped_file_are_not_copied() -> None:
    content = bytearray(any_file(8, 32, 1))
    weights = unpack_network(memoryview(content))
    content[-1] ^= 1
    assert weights.values[-1] == content[-1]


def test_a_network_has_the_outputs_that_its_file_names() -> None:
    network = Network(any_file(8, 32, 1, outputs=3))
    assert network.outputs == ("output 0", "output 1", "output 2")
