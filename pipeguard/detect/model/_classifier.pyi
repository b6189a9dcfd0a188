from array import array

from pipeguard.detect.model.features import Scoring

def means(
    words: bytes, families: array[int], groups: array[int], scoring: Scoring, /
) -> list[float | None]: ...
