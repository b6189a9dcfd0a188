"""Mints secrets by the name of their format; none of them opens anything.

formats.txt has the recipe of each format. A recipe is text with parts to be generated:

    <hex*32>       characters of an alphabet: a number of them, or a range as in <b62*8-16>
    <d>            one character
    <pick:a|b>     one of several texts
    <crc62:ghp_>   the value of a generator, whose argument may contain `<...>` itself

The same format and seed give the same value. Knows nothing of rules, and no published example.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.detection import credentials, numbers
from benchmarks.detection.letters import ALPHABETS, random_text

TABLE = Path(__file__).with_name("formats.txt")
_ENTRY = re.compile(r"(?P<name>[a-z0-9-]+) (?P<use>[ACKWPNI]) (?P<field>\S+) (?P<recipe>.+)")
_MADE = re.compile(
    r"(?P<name>[A-Za-z0-9-]+?)(?:\*(?P<least>\d+)(?:-(?P<most>\d+))?|:(?P<arg>.*))?", re.S
)
_GENERATORS = {**credentials.GENERATORS, **numbers.GENERATORS}


class Use(Enum):
    """True if a value of a format is a secret."""

    ALONE = "A"  # a secret by its form
    CHECKED = "C"  # a secret if its checksum, decoding or entropy passes
    KEYWORD = "K"  # a secret where a word next to it says so
    WEAK = "W"  # meant to be passed on, or valid only in tests
    PUBLIC = "P"  # public, or an identifier
    NUMBER = "N"  # of a person or of an account
    INNOCENT = "I"  # looks like a secret, but is none


@dataclass(frozen=True, slots=True)
class Format:
    """One format of secret.

    Attributes:
        name: in kebab-case.
        row: the kind of issuer, and part of the table: `cloud: AWS access key id`.
        use: whether its values are secrets.
        field: the variable or field that usually contains it.
        recipe: of its values.
    """

    name: str
    row: str
    use: Use
    field: str
    recipe: str


@cache
def formats() -> Mapping[str, Format]:
    """The formats by name, in the order of the table."""
    formats: dict[str, Format] = {}
    part = row = ""
    for number, line in enumerate(TABLE.read_text("utf-8").splitlines(), 1):
        if line.startswith("== "):
            part = line[3:]
        elif line.startswith("= "):
            row = f"{part}: {line[2:]}"
        elif line and not line.startswith("#"):
            entry = _ENTRY.fullmatch(line)
            if entry is None or entry["name"] in formats:
                raise ValueError(f"{TABLE.name}:{number}: not an entry, or its name is taken")
            use, recipe = Use(entry["use"]), entry["recipe"].replace("\\n", "\n")
            formats[entry["name"]] = Format(entry["name"], row, use, entry["field"], recipe)
    return formats


def mint(name: str, seed: str) -> str:
    """A fresh value of a format.

    Args:
        name: of the format.
        seed: another seed gives another value.

    Raises:
        KeyError: there is no such format.
    """
    return fill(formats()[name].recipe, Random(f"{name} {seed}"))


def fill(recipe: str, dice: Random) -> str:
    """The recipe with each `<...>` generated, the innermost first.

    Raises:
        ValueError: it is malformed, or names no alphabet and no generator.
    """
    made, position = "", 0
    while (start := recipe.find("<", position)) >= 0:
        end = _closing(recipe, start)
        made += recipe[position:start] + _make(recipe[start + 1 : end], dice)
        position = end + 1
    return made + recipe[position:]


def _closing(recipe: str, start: int) -> int:
    depth = 0
    for place in range(start, len(recipe)):
        depth += {"<": 1, ">": -1}.get(recipe[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"{recipe!r}: a `<` is not closed")


def _make(inner: str, dice: Random) -> str:
    part = _MADE.fullmatch(inner)
    if part is None:
        raise ValueError(f"<{inner}>: cannot be read")
    name = part["name"]
    if name == "pick":
        options: list[str] = (part["arg"] or "").split("|")
        return dice.choice(options)
    if name in ALPHABETS:
        least = int(part["least"] or 1)
        return random_text(dice, name, dice.randint(least, int(part["most"] or least)))
    if name in _GENERATORS:
        return _GENERATORS[name](dice, fill(part["arg"] or "", dice))
    raise ValueError(f"<{inner}>: no alphabet and no generator has this name")
