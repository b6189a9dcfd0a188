"""The surrogates of one record: of values, and of the parts of values seen lately."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from random import Random

from pipeguard.detect.text.decoders import common_prefix
from pipeguard.state.record.writings import Edit

LEAST_PART = 8  # characters that identify a value
LONGEST = 4096  # characters of a value whose parts are known
MOST_CHARS = 2**16  # of values that are known: 4 MiB with their grams
_GRAM, _STEP = 5, 4  # any part of LEAST_PART characters has one of these whole

Draw = Callable[[Random, Mapping[int, str]], str]


class SurrogateMemory:
    """Draws surrogates with a key of its own: the same value always gets the same."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self._made: dict[str, str] = {}
        self._grams: dict[str, tuple[str, int]] = {}  # the last value with it, and where
        self._chars = 0

    def make(self, secret: str, draw: Draw) -> str:
        """Make the surrogate of a value, or return the one it has.

        Args:
            secret: the value.
            draw: makes it; gets characters that parts of it have already.
        """
        made = self.get(secret)
        if made is None:
            seed = blake2b(secret.encode("utf-8", "surrogatepass"), key=self._key).digest()
            decided = dict[int, str]()
            for start, _, new in self.find_parts(secret):
                decided |= enumerate(new, start)
            made = draw(Random(seed), decided)  # noqa: S311  of a secret seed
            self._keep(secret, made)
        return made

    def get(self, secret: str) -> str | None:
        """The surrogate of a value; None if it is not known."""
        return self._made.get(secret)

    def _keep(self, secret: str, made: str) -> None:
        """Remember a surrogate, and forget the oldest if there are too many."""
        if len(secret) > LONGEST:
            return
        self._made[secret] = made
        self._chars += len(secret)
        for at in range(0, len(secret) - _GRAM + 1, _STEP):
            self._grams[secret[at : at + _GRAM]] = secret, at
        while self._chars > MOST_CHARS:
            self.drop(next(iter(self._made)))

    def drop(self, secret: str) -> None:
        """Forget a surrogate, because another one is needed."""
        if self._made.pop(secret, None) is not None:
            self._chars -= len(secret)
            grams = self._grams.items()
            self._grams = {gram: known for gram, known in grams if known[0] != secret}

    def find_parts(self, text: str) -> Iterator[Edit]:
        """Find parts of known values in a text, each with that part of the surrogate."""
        at = done = 0
        while self._grams and at <= len(text) - _GRAM:
            secret, place = self._grams.get(text[at : at + _GRAM], ("", 0))
            at += 1
            if not secret:
                continue
            first = max(done, at - 1 - place)
            before = common_prefix(text[first : at - 1][::-1], secret[:place][::-1])
            start, place = at - 1 - before, place - before
            size = common_prefix(text[start : start + LONGEST], secret[place:])
            if size >= LEAST_PART:
                yield start, start + size, self._made[secret][place : place + size]
                at = done = start + size
