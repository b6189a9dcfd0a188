"""The form of the models' files: a line of their name, a line of JSON, and tables of weights.

A file is mapped: it stays as it is in memory, shared by all processes. Numbers of several bytes
have the lowest first. training.packing writes these files.
"""

import json
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any


def read_header(content: bytes | memoryview, magic: bytes) -> tuple[dict[str, Any], memoryview]:
    """The line of JSON of a file with this name, and what follows it, which is not copied.

    Raises:
        ValueError: it is another file.
    """
    if content[: len(magic)] != magic:
        raise ValueError(f"not {magic.decode().strip()}, or of another version")
    content = memoryview(content)[len(magic) :]
    line = bytes(content[: 1 << 16]).partition(b"\n")[0]
    return json.loads(line), content[len(line) + 1 :]


def cut_tables(tables: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """The tables of a file, by their sizes in bytes.

    Raises:
        ValueError: there are more or fewer bytes.
    """
    bounds = [*accumulate(sizes, initial=0)]
    if bounds[-1] != len(tables) or sorted(bounds) != bounds:
        raise ValueError("more or fewer weights than are described")
    return [tables[start:end] for start, end in pairwise(bounds)]
