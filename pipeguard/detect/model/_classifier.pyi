from array import array
from collections.abc import Callable

from pipeguard.detect.model.features import Mean, Scoring

def lexicon(stems: bytes, families: array[int], model: int, /) -> object: ...
def families(text: str, lexicon: object, /) -> int: ...
def means(
    text: str, clean: Callable[[str], str], lexicon: object, scoring: Scoring, /
) -> list[Mean]: ...
