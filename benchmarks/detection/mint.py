"""Secrets by the name of their format, put together when asked for; none of them opens anything.

formats.txt says how each is built. A recipe is text in which `<...>` stands for something made:

    <hex*32>       characters of an alphabet, by number, or by range as in <b62*8-16>
    <d>            one of them
    <pick:a|b>     one of several
    <crc62:ghp_>   what a generator makes of an argument, which may hold `<...>` itself

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
from benchmarks.detection.letters import ALPHABETS, chosen

TABLE = Path(__file__).with_name("formats.txt")
_ENTRY = re.compile(r"(?P<name>[a-z0-9-]+) (?P<use>[ACKWPNI]) (?P<kept>\S+) (?P<recipe>.+)")
_MADE = re.compile(
    r"(?P<name>[A-Za-z0-9-]+?)(?:\*(?P<least>\d+)(?:-(?P<most>\d+))?|:(?P<arg>.*))?", re.S
)
_GENERATORS = {**credentials.GENERATORS, **numbers.GENERATORS}


class Use(Enum):
    """What a format is worth by itself."""

    ALONE = "A"  # a secret by its form
    CHECKED = "C"  # a secret where a checksum, a decoding or its entropy passes
    KEYWORD = "K"  # a secret where a word beside it says so
    WEAK = "W"  # made to be passed on, or good for tests only
    PUBLIC = "P"  # public, or an identifier
    NUMBER = "N"  # of a person or of an account
    INNOCENT = "I"  # looks like a secret and is none


@dataclass(frozen=True, slots=True)
class Format:
    """One format of secret.

    Attributes:
        name: in kebab-case.
        row: the kind of issuer, and part of the table: `cloud: AWS access key id`.
        use: what it is worth by itself.
        kept: the variable or the field in which it is usually kept.
        recipe: how it is made.
    """

    name: str
    row: str
    use: Use
    kept: str
    recipe: str


@cache
def formats() -> Mapping[str, Format]:
    """Every format by its name, in the table's order."""
    found: dict[str, Format] = {}
    part = row = ""
    for number, line in enumerate(TABLE.read_text("utf-8").splitlines(), 1):
        if line.startswith("== "):
            part = line[3:]
        elif line.startswith("= "):
            row = f"{part}: {line[2:]}"
        elif line and not line.startswith("#"):
            entry = _ENTRY.fullmatch(line)
            if entry is None or entry["name"] in found:
                raise ValueError(f"{TABLE.name}:{number}: not an entry, or its name is taken")
            use, recipe = Use(entry["use"]), entry["recipe"].replace("\\n", "\n")
            found[entry["name"]] = Format(entry["name"], row, use, entry["kept"], recipe)
    return found


def mint(name: str, seed: str) -> str:
    """A fresh value of a format.

    Args:
        name: the format's.
        seed: what the value depends on beside the name.

    Raises:
        KeyError: there is no such format.
    """
    return fill(formats()[name].recipe, Random(f"{name} {seed}"))


def fill(recipe: str, dice: Random) -> str:
    """A recipe with all that stands in `<...>` made, the innermost first.

    Raises:
        ValueError: it names what is not there.
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
        return chosen(dice, name, dice.randint(least, int(part["most"] or least)))
    if name in _GENERATORS:
        return _GENERATORS[name](dice, fill(part["arg"] or "", dice))
    raise ValueError(f"<{inner}>: no alphabet and no generator has this name")
