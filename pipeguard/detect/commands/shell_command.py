"""A command of a shell as values: its words, redirects and input. Knows no syntax."""

from __future__ import annotations

from pipeguard.detect.text.encoding import runs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

MAX_VALUE = 16_384  # characters of what is printed or assigned
GAP = "\x1f"  # a space inside a word


class ShellCommand(NamedTuple):
    """One command of a pipeline.

    Attributes:
        words: the command's name and arguments.
        redirects: each an operator, as `>`, and a target.
        stdin: its input, where the script says it.
    """

    words: list[str]
    redirects: list[tuple[str, str]]
    stdin: str | None


Pipeline = list[ShellCommand]

LEAST_RUN = 16  # characters, as a secret has
_IN_RUN = bytes(
    0x61 if code < 0x80 and (chr(code).isalnum() or chr(code) in "_.+-") else 0x20
    for code in range(256)
)
_ROW = b"a" * LEAST_RUN
_ANY_DIGIT = lazy_regex("[0-9]")
_DIGIT = lazy_regex(rb"[0-9]")


def dense_runs(text: str) -> list[str]:
    """The runs of a text that are as long as a secret and have a digit, as most secrets do."""
    if len(text) < LEAST_RUN or not _ANY_DIGIT.search(text):
        return []
    data = text.encode("utf-8", "replace")
    if _ROW not in data.translate(_IN_RUN):
        return []
    found = (data[low:high] for low, high in runs(data, 0, len(data), _IN_RUN, LEAST_RUN))
    return [run.decode() for run in found if _DIGIT.search(run)]
