"""All strings of one message as one buffer, and the way back from a byte to its string.

Rules search the buffer; matches are reported by path and code points, and only then is the way back
computed. Knows JSON values; detect.text.layouts decides which strings are read.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import accumulate, islice, pairwise

from pipeguard.detect.text.layouts import LEAST_KEY, find_keys, is_listed, lay_out
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from pipeguard.unicode.folding import Range, fold

MAX_TOKEN_CHARS = 120  # of a value that could be one word or one expression
DOCUMENT_CHARS = 160  # a longer value is a document, if it has enough lines
DOCUMENT_LINES = 3
FEW_SEGMENTS = 16  # of a range, which are compared
BYTES_COUNTED = 2**12  # of `data`, whose code points are counted once

_CONTINUATIONS = bytes(range(0x80, 0xC0))  # of a code point in UTF-8, behind its first byte
_DIGIT = lazy_regex("[0-9]")
# Four words in a row as in a sentence, without those of statements; or as many letters of a script
# that needs no spaces; or three lines.
_TEXT = lazy_regex(
    r"(?:(?<![\w'\"])(?!(?i:select|union|insert|update|delete|drop|alter|from|where|exec)\b)"
    r"[A-Za-z]?[^\W\d_A-Z]{1,24}(?:['’]\w{1,2})?[,:.]?\s){4}|[^\W\d_\x00-\x7f]{8}"
    r"|(?m:^)[ \t]{0,80}(?:\S[^\r\n]*\n\s*){2}\S"
)
_COULD_BE_SECRET = lazy_regex(rf"(?=\D{{0,24}}[0-9])[!-~]{{{LEAST_KEY}}}")


class MessageText:
    """The strings of one value, laid out as lines: each line is a segment.

    Positions are computed only after a match, and only as far as needed.

    Attributes:
        data: all segments in UTF-8, joined by line ends.
        value: the JSON value that contains the strings.
        values: the strings that are read joined, in order.
        keys: its names, each once.
        strings: keyed, of each segment; empty for a member whose value is an object, a list or a
            short number.
        count: the number of values.
        is_several: True if there are several values, over which something could be split.
        is_keyed: True if each string is laid out as `key: value`.
    """

    def __init__(self, value: JsonValue, *, keyed: bool) -> None:
        """Lay out a value: keyed, as towards a server, or unkeyed (detect.text.layouts)."""
        layout = lay_out(value, keyed=keyed)
        self._layout = layout
        self.data = layout.data
        self.values = layout.values
        self.keys = layout.keys
        self.strings = layout.strings
        self.value = value
        self.count = len(self.values)
        self.is_several = self.count > 1
        self.is_keyed = keyed
        self._containers: dict[int, Path] = {0: ()}
        self._counts = [0]  # of the code points before each BYTES_COUNTED bytes of `data`

    @property
    def may_ask(self) -> bool:
        """False for a result that asks a client nothing (PLACES), as nearly all do."""
        value = self.value if isinstance(self.value, dict) else {}
        result = value.get("result")
        return "method" in value or not isinstance(result, dict) or "inputRequests" in result

    @property
    def segment_count(self) -> int:
        """The number of values and of other strings that are read, such as keys."""
        return len(self._starts) - 1

    def sizes(self) -> Iterator[int]:
        """The bytes of each segment in `data`, with the line end."""
        return (end - start for start, end in pairwise(self._starts))

    def stretch(self, index: int) -> Range:
        """The span of a segment's value in `data`."""
        label = self._label(index)
        skipped = 0 if label is None else len(label.encode()) + 2
        return self._starts[index] + skipped, self._starts[index + 1] - 1

    def join_values(self) -> bytes:
        """The values, concatenated."""
        return "".join(self.values).encode()

    def seams(self) -> Iterator[int]:
        """The places in `joined` where a value ends and the next begins."""
        values: Iterable[str] | Iterable[bytes] = self.values[:-1]
        if not self.data.isascii():
            values = [value.encode() for value in self.values[:-1]]
        return accumulate(map(len, values))

    @cached_property
    def paths(self) -> list[Path]:
        """The path of each segment."""
        return [*map(self._index_path, range(self._index(len(self.data) - 1) + 1))]

    def joined_keys(self) -> bytes:
        """The keys, each once, concatenated; empty if none could be part of a secret."""
        if not self._layout.long_keys or not _DIGIT.search("".join(self._layout.long_keys)):
            return b""  # most
        if not any(map(_COULD_BE_SECRET.search, self._layout.long_keys)):
            return b""
        return "".join(self._joined_key_list).encode()

    def locate_keys(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The paths of the keys in a range of `joined_keys`; True if there are several."""
        keys = self._joined_key_list
        ends = list(accumulate(len(key.encode()) for key in keys))
        crossed = keys[bisect_right(ends, start) : bisect_right(ends, end - 1) + 1]
        paths = [self._key_paths.get(key, ()) for key in crossed if key]
        return paths, len(paths) > 1

    def find_path(self, start: int) -> Path:
        """The path of the string at a byte of `data`."""
        return self._index_path(self._index(start))

    def largest_part(self, low: int, high: int) -> Range:
        """The part of a range of `data` in one string: the longest of the first few."""
        first, last = self._index(low), self._index(high - 1)
        bounds = self._starts[first : min(last, first + FEW_SEGMENTS) + 2]
        parts = [(max(low, start), min(high, end - 1)) for start, end in pairwise(bounds)]
        return max(parts, key=lambda part: part[1] - part[0]) if last > first else (low, high)

    def is_most(self, start: int, size: int) -> bool:
        """True if the string at a byte of `data` is short, and this many bytes are most of it."""
        value = self.find_value(start)
        if not value.isascii():
            value = fold(value[: 4 * MAX_TOKEN_CHARS].encode("utf-8", "replace"))[0].decode()
        return len(value) <= MAX_TOKEN_CHARS and 5 * size >= 3 * len(value)

    def find_value(self, start: int) -> str:
        """The string at a byte of `data`."""
        return self._string(self._index(start))

    def span(self, start: int, end: int) -> Range:
        """A range of `data` as code points of the string at its beginning."""
        index = self._index(start)
        first_byte, end_byte = self._starts[index], self._starts[index + 1] - 1
        label = self._label(index)
        skipped = self._count_code_points(first_byte) + (0 if label is None else len(label) + 2)
        first = self._count_code_points(start) - skipped
        last = self._count_code_points(max(start, min(end, end_byte))) - skipped
        return max(0, first), min(max(0, last), len(self._string(index)))

    def _count_code_points(self, place: int) -> int:
        """The number of code points before a byte of `data`, except one that the byte divides."""
        data = self.data
        counts = self._counts
        for start in range(BYTES_COUNTED * (len(counts) - 1), place, BYTES_COUNTED):
            part = data[start : start + BYTES_COUNTED]
            counts.append(counts[-1] + len(part.translate(None, _CONTINUATIONS)))
        number = min(place // BYTES_COUNTED, len(counts) - 1)
        rest = data[number * BYTES_COUNTED : place].translate(None, _CONTINUATIONS)
        is_divided = place < len(data) and data[place] in _CONTINUATIONS
        return counts[number] + len(rest) - is_divided

    def find_strings(self, low: int, high: int) -> Iterator[tuple[Path, str, int, int]]:
        """Unkeyed only: the values in a range of `data`, each with its part in the range.

        Yields:
            The path, the string, and the first and the last character. Numbers, keys, and values
            that are listed once are left out.
        """
        for index in range(self._index(low), self._index(high - 1) + 1):
            if index >= len(self.strings):
                return
            string = self.strings[index]
            start = max(low, self._starts[index])
            end = min(high, self._starts[index + 1] - 1)
            if start < end and type(string) is str:
                yield self.segment_path(index), string, *self.span(start, end)

    def segment_path(self, number: int) -> Path:
        """The path of a segment's string; unkeyed, of one of `values`."""
        step = self._layout.steps[number]
        around = self._find_container(self._owners[number])
        return around if step is None else (*around, step)

    def locate_joined(self, start: int, end: int) -> tuple[list[Path], bool]:
        """The paths of the strings in a range of `joined`; True if there are several."""
        starts = self._joined_starts
        first, last = bisect_right(starts, start) - 1, bisect_right(starts, end - 1)
        sizes = enumerate(pairwise(starts[first : last + 1]), first)
        crossed = [self.segment_path(index) for index, (low, high) in sizes if low < high]
        return crossed, len(crossed) > 1

    @cached_property  # as all that follow: most texts need none
    def _starts(self) -> list[int]:
        """The start of each segment in `data`."""
        return _unpack(self._layout.starts)

    @cached_property
    def _owners(self) -> list[int]:
        """The container of each string."""
        return _unpack(self._layout.owners)

    @cached_property
    def _parents(self) -> list[int]:
        """The container around each container."""
        return _unpack(self._layout.parents)

    @cached_property
    def _key_list(self) -> list[str]:
        """The keys, which follow the strings in the unkeyed layout."""
        return list(self.keys)

    @cached_property
    def _joined_key_list(self) -> list[str]:
        """The keys; then again the pieces under names from fixed lists, without names between."""
        keys = self._key_list
        paths = self._key_paths
        pieces = [key for key in keys if not is_listed(key) and paths[key][-1] != key]
        return [*keys, "\n", *pieces] if pieces else keys

    @cached_property
    def _key_paths(self) -> dict[str, Path]:
        """The first path of each key."""
        return find_keys(self.value)

    @cached_property
    def _joined_starts(self) -> list[int]:
        """The start of each string in the joined values; other strings count as empty there."""
        strings = zip(
            self.strings if self.is_keyed else self.values, self._layout.steps, strict=False
        )
        left_out = FIXED_VALUE_KEYS if self.is_keyed else ()
        lengths = (
            0 if step in left_out and is_listed(string) else len(string.encode())
            for string, step in strings
        )
        return list(accumulate(lengths, initial=0))

    def _index(self, start: int) -> int:
        """The number of the segment at a byte of `data`."""
        return max(0, min(bisect_right(self._starts, start), len(self._starts) - 1) - 1)

    def _index_path(self, index: int) -> Path:
        if index < len(self.strings):
            return self.segment_path(index)
        return self._key_paths.get(self._string(index), ())  # of another text, the value's own

    def _string(self, index: int) -> str:
        """The string of a segment, which may be a key in the unkeyed layout."""
        located = len(self.strings)
        return self.strings[index] if index < located else self._key_list[index - located]

    def _find_container(self, number: int) -> Path:
        """The path of a container."""
        if (path := self._containers.get(number)) is None:
            step = self._layout.names[number]
            outer = self._find_container(self._parents[number])
            path = self._containers[number] = outer if step is None else (*outer, step)
        return path

    def _label(self, index: int) -> str | None:
        """The name at the start of a segment, before a colon and a space."""
        if self.is_keyed:
            step = self._layout.steps[index]
            return step if type(step) is str else None
        number = index - len(self.strings) + len(self._layout.labels)
        return self._layout.labels[number] if 0 <= number < len(self._layout.labels) else None

    @cached_property
    def names_around(self) -> list[tuple[str, ...]]:
        """Keyed only: the names around each segment, outermost first."""
        around: list[tuple[str, ...]] = [()]
        for name, parent in islice(zip(self._layout.names, self._parents, strict=True), 1, None):
            around.append((*around[parent], name) if type(name) is str else around[parent])
        return [
            (*around[owner], step) if type(step) is str else around[owner]
            for step, owner in zip(self._layout.steps, self._owners, strict=True)
        ]


@lru_cache(2)  # a text is asked about for each match in it
def is_document(value: str) -> bool:
    """True for a long string of several lines."""
    return len(value) > DOCUMENT_CHARS and value.count("\n") >= DOCUMENT_LINES


@lru_cache(2)
def is_text(value: str) -> bool:
    """True for several lines, or a sentence in some language, unlike a name or a command."""
    return _TEXT.search(value) is not None


def _unpack(numbers: bytes) -> list[int]:
    return memoryview(numbers).cast("I").tolist()
