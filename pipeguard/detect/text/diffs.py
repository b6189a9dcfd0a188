"""The file of each line of a diff, and the text written in it. Knows Git's format."""

from bisect import bisect_right
from functools import lru_cache

from pipeguard.firewall.lazy_regex import lazy_regex

_MARK = lazy_regex(rb"(?<=\n)diff --git ")
_HEADER = lazy_regex(rb"diff --git a/([^\n]{1,512}) b/\1\n")
_NO_CONTENT = lazy_regex(
    rb"(?:index [0-9a-f.]+[^\n]*|(?:new|deleted) file mode [0-9]+|--- [^\n]*|\+\+\+ [^\n]*"
    rb"|@@ [-+0-9, ]+ @@[^\n]*|similarity index[^\n]*|rename [^\n]*)(?:\n|\Z)"
)


def changed_file(data: bytes, at: int) -> tuple[str, bytes] | None:
    """The path of the file of a place in a diff, and its lines; None outside of a diff.

    In a diff, each line of a file begins with a mark, so that none can pose as a header. The
    returned lines have no marks.
    """
    starts = _starts(data)
    number = bisect_right(starts, at)
    header = _HEADER.match(data, starts[number - 1])
    if not header:
        return None
    end = starts[number] - 1 if number < len(starts) else len(data)
    content = b"".join(
        line[1:] if line[:1] in (b"+", b"-", b" ") else line
        for line in data[header.end() : end].splitlines(keepends=True)
        if not _NO_CONTENT.fullmatch(line)
    )
    return header[1].decode("utf-8", "replace"), content


@lru_cache(2)  # a text is asked about for each match in it
def _starts(data: bytes) -> list[int]:
    """Find the starts of the text and of its headers."""
    return [0, *(mark.start() for mark in _MARK.finditer(data))]
