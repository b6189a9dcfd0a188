"""The arithmetic of detect.model.opener in numpy, the same as in `_opener.c`."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from pipeguard.detect.model.opener_weights import (
    FEWEST,
    GRAM_BITS,
    MOST_BYTES,
    MOST_STRETCHES,
    REPEAT_TOKENS,
    SEGMENT_TOKENS,
    TOKEN_BYTES,
    WINDOW_SEGMENTS,
    WORD_BITS,
    Weights,
    Window,
)

Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Steps: TypeAlias = "np.ndarray[Any, np.dtype[np.int8]]"
Hashes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint64]]"
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

GAP, LETTER, DIGIT, MARK = range(4)
MARKS = b'<>[]{}#:!?`"|=*_-/@$'
AFTER_STOP, STOP, LINE_END = 1, 2, 3  # allowed after a stop; a stop; the end of a line
STEM_BYTES, WIDE_STEM_BYTES = 5, 10
POWER, BIGRAM = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD)
FOLD, GRAM = np.uint64(0xC4CEB9FE1A85EC53), np.uint32(0x9E3779B1)
STEM_SEED, PAIR_SEED = np.uint64(0x89ABCDEF1), np.uint64(0x5555AAAA3)
FIRST = np.uint64(0x13579BDF)  # stands for the token before the first one


class TextFeatures(NamedTuple):
    """The features of a text without repetitions, and the starts of its segments.

    Attributes:
        stems: of each token, its row of the table.
        pairs: of each token and the one before it.
        grams: of each byte of a token.
        first: the first token of each segment, or of the next one that has any; and their number.
        first_gram: the same for the first gram.
        starts: the first byte of each segment.
    """

    stems: Integers
    pairs: Integers
    grams: Integers
    first: Integers
    first_gram: Integers
    starts: Integers


# For each segment: the weights of its words (stems and pairs) and their number; those of its grams.
Sums: TypeAlias = tuple[Integers, Integers, Integers, Integers]


def windows(data: bytes, weights: Weights) -> list[Window]:
    """The windows over the threshold, joined if they meet: start, end, score."""
    text = features(data)
    if text is None:
        return []
    words, grams = (np.frombuffer(table, np.int8) for table in weights[:2])
    scores, begin = best_windows(sums(text, words, grams), weights.scale, weights.bias)
    over = np.flatnonzero(scores >= weights.threshold)
    ends = np.append(text.starts[1:], len(data))
    starts, last = text.starts[begin[over]].tolist(), ends[over].tolist()
    return _join(list(zip(starts, last, scores[over].tolist(), strict=True)))


def features(data: bytes) -> TextFeatures | None:
    """The features of a text; None if it has no token."""
    letters = np.frombuffer(data.translate(_LETTERS), np.uint8)
    classes = np.frombuffer(data.translate(_CLASSES), np.uint8)
    starts, lengths = _tokens(letters, classes)
    if not len(starts):
        return None
    sentences, first = _first_tokens(data, starts)
    heads = letters[starts]
    stem_bytes = np.where(heads >= 128, WIDE_STEM_BYTES, STEM_BYTES)
    stem_bytes = np.minimum(np.where(classes[starts] == LETTER, stem_bytes, 1), lengths)
    hashes = _stem_hashes(letters, starts, stem_bytes)
    before = np.concatenate(([FIRST], hashes[:-1]))
    before[sentences] = FIRST
    fold = np.uint64(64 - WORD_BITS)
    stems = (((hashes ^ STEM_SEED) * FOLD) >> fold).astype(np.int64)
    pairs = ((((before * BIGRAM) ^ (hashes + PAIR_SEED)) * FOLD) >> fold).astype(np.int64)
    is_new = _is_new(pairs)
    grams = _grams(letters)[classes != GAP]
    tokens_before = np.concatenate(([0], np.cumsum(is_new)))
    grams_before = np.concatenate(([0], np.cumsum(is_new * lengths)))
    bounds = np.append(first, len(starts))
    return TextFeatures(
        stems[is_new],
        pairs[is_new],
        grams[np.repeat(is_new, lengths)],
        tokens_before[bounds],
        grams_before[bounds],
        starts[first],
    )


def sums(text: TextFeatures, words: Steps, grams: Steps) -> Sums:
    """The sums of weights of each segment."""
    of_words = words[text.stems].astype(np.int64) + words[text.pairs]
    of_grams = grams[text.grams].astype(np.int64)
    counts = 2 * np.diff(text.first), np.diff(text.first_gram)
    sums_of_grams = _between(of_grams, text.first_gram)
    return _between(of_words, text.first), counts[0], sums_of_grams, counts[1]


def best_windows(segments: Sums, scale: float, bias: float) -> tuple[Any, Integers]:
    """Find the best window that ends with each segment: its score, and its first segment.

    A segment that only repeats its predecessor ends no window.
    """
    count = len(segments[0])
    best, begin = np.full(count, -np.inf), np.arange(count)
    total = [part.copy() for part in segments]
    for back in range(min(WINDOW_SEGMENTS, count)):
        if back:
            for whole, part in zip(total, segments, strict=True):
                whole[back:] += part[:-back]
        words, word_count, grams, gram_count = total
        means = words / np.sqrt(np.maximum(word_count, FEWEST))
        scores = bias + scale * (means + grams / np.sqrt(np.maximum(gram_count, FEWEST)))
        better = np.flatnonzero(scores[back:] > best[back:]) + back
        best[better], begin[better] = scores[better], better - back
    best[segments[1] == 0] = -np.inf
    return best, begin


def _between(values: Integers, bounds: Integers) -> Integers:
    """The sum of the values between each pair of bounds."""
    return np.diff(np.concatenate(([0], np.cumsum(values)))[bounds])


def _is_new(pairs: Integers) -> Any:
    """False for each pair that repeats one of the last pairs."""
    is_new = np.ones(len(pairs), bool)
    for back in range(1, min(REPEAT_TOKENS, len(pairs) - 1) + 1):
        is_new[back:] &= pairs[back:] != pairs[:-back]
    return is_new


def _tokens(letters: Bytes, classes: Bytes) -> tuple[Integers, Integers]:
    """The beginning and length of each token."""
    begins = np.ones(len(letters), bool)
    np.not_equal(classes[1:], classes[:-1], out=begins[1:])
    begins[1:] |= (classes[1:] == MARK) & (letters[1:] != letters[:-1])
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=len(letters))
    if len(starts) and lengths.max() > TOKEN_BYTES:
        parts = -(-lengths // TOKEN_BYTES)
        number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = np.repeat(starts, parts) + number * TOKEN_BYTES
        lengths = np.diff(starts, append=len(letters))
    real = classes[starts] != GAP
    return starts[real], lengths[real]


def _first_tokens(data: bytes, starts: Integers) -> tuple[Integers, Integers]:
    """The first token of each sentence or line, and of each segment."""
    marks = np.frombuffer(data.translate(_ENDS), np.uint8)
    is_end = marks == LINE_END
    is_end[1:] |= (marks[:-1] == STOP) & (marks[1:] == AFTER_STOP)
    sentences = np.searchsorted(np.flatnonzero(is_end), starts, side="right")
    is_first = np.ones(len(starts), bool)
    np.not_equal(sentences[1:], sentences[:-1], out=is_first[1:])
    first = np.flatnonzero(is_first)
    sizes = np.diff(first, append=len(starts))
    if sizes.max() <= SEGMENT_TOKENS:
        return first, first
    position = np.arange(len(starts)) - np.repeat(first, sizes)
    return first, np.flatnonzero(is_first | (position % SEGMENT_TOKENS == 0))


def _stem_hashes(letters: Bytes, starts: Integers, stem_bytes: Integers) -> Hashes:
    """A polynomial of the first bytes of each token, modulo 2 to the 64."""
    hashes = letters[starts].astype(np.uint64)
    power, longer = POWER, np.arange(len(starts))
    for at in range(1, int(stem_bytes.max())):
        longer = longer[stem_bytes[longer] > at]
        hashes[longer] += letters[starts[longer] + at] * power
        power = np.uint64(int(power) * int(POWER) % 2**64)
    return hashes


def _grams(letters: Bytes) -> Integers:
    """The table row of the four bytes from each byte on; spaces follow the last one."""
    padded = letters.tobytes() + b"   "
    grams = np.empty(len(letters), np.uint32)
    for offset in range(4):
        places = grams[offset::4]
        places[:] = np.frombuffer(padded, "<u4", len(places), offset)
    return ((grams * GRAM) >> np.uint32(32 - GRAM_BITS)).astype(np.int64)


def _join(chosen: list[Window]) -> list[Window]:
    joined: list[Window] = []
    for start, end, score in chosen:
        if joined:
            first, last, most = joined[-1]
            meets = start <= last and end - first <= MOST_BYTES
            if meets or len(joined) == MOST_STRETCHES:
                joined[-1] = min(first, start), max(last, end), max(most, score)
                continue
        joined.append((start, end, score))
    return joined


def _byte_tables() -> tuple[bytes, bytes, bytes]:
    """For each byte: the character it is read as, its class, and whether it may end a sentence."""
    letters, classes, ends = bytearray(b" " * 256), bytearray(256), bytearray(256)
    for byte in range(256):
        if byte < 128 and not chr(byte).isalnum() and byte not in MARKS:
            continue
        is_digit = byte in b"0123456789"
        letters[byte] = ord("0") if is_digit else bytes([byte]).lower()[0]
        classes[byte] = MARK if byte in MARKS else DIGIT if is_digit else LETTER
    for marks, kind in ((b" \t\r", AFTER_STOP), (b".!?", STOP), (b"\n", LINE_END)):
        for byte in marks:
            ends[byte] = kind
    return bytes(letters), bytes(classes), bytes(ends)


_LETTERS, _CLASSES, _ENDS = _byte_tables()
