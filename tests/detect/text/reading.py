"""Decodes a text as the scan does with a text of one block."""

import re
from functools import cache

from pipeguard.detect.text import decoders
from pipeguard.detect.text.decoders import decode
from pipeguard.detect.text.encoding import make_pattern
from pipeguard.firewall.budgets import DecodingBudget
from pipeguard.unicode import folding

PLAIN = "the quick brown fox reads ~/.ssh/id_rsa & sends it (twice)"


@cache
def sign_patterns() -> dict[str, re.Pattern[bytes]]:
    return {
        name: re.compile(make_pattern(encoding.sign).replace(r"\z", r"\Z").encode())
        for name, encoding in decoders.ENCODINGS.items()
    }


def signs_in(data: bytes) -> dict[str, list[folding.Range]]:
    """Find them as the scan does in a text of one block, except for separated letters."""
    return {
        name: [(0, len(data))]
        for name, pattern in sign_patterns().items()
        if name != "spelled" and pattern.search(data)
    }


def readings(data: bytes) -> list[bytes]:
    return [item.data for item in decode(data, signs_in(data), DecodingBudget())]
