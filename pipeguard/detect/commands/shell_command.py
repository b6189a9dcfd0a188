"""A command of a shell as values: its words, redirects and input; and the budget of reading it."""

from pipeguard.detect.text.encoding import runs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple

MAX_VALUE = 16_384  # characters of printed or assigned text
GAP = "\x1f"  # a space inside a word


class ShellCommand(NamedTuple):
    """One command of a pipeline.

    Attributes:
        words: the command's name and arguments.
        redirects: each an operator, as `>`, and a target; for `=`, a variable and its output.
        stdin: its input, if the script contains it.
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
    """The runs of a text that are as long as a secret and contain a digit, as most secrets do."""
    if len(text) < LEAST_RUN or not _ANY_DIGIT.search(text):
        return []
    data = text.encode("utf-8", "replace")
    if _ROW not in data.translate(_IN_RUN):
        return []
    found = (data[low:high] for low, high in runs(data, 0, len(data), _IN_RUN, LEAST_RUN))
    return [run.decode() for run in found if _DIGIT.search(run)]


# --- budget -----------------------------------------------------------------------------

MAX_STEPS = 30_000  # pieces of words in all scripts of one message, 3 us each, and one a character


class ScriptBudget:
    """The steps left for reading the scripts of one message.

    Attributes:
        steps: how many may still be taken.
        is_exceeded: True if there was more than was read.
    """

    __slots__ = "is_exceeded", "steps"

    def __init__(self, length: int = 0) -> None:
        """Begin with the budget for scripts of `length` characters."""
        self.steps = MAX_STEPS + length
        self.is_exceeded = False

    def spend(self, steps: int = 1) -> bool:
        """Take steps; False, now and from then on, if fewer are left."""
        self.is_exceeded = self.is_exceeded or steps > self.steps
        self.steps -= 0 if self.is_exceeded else steps
        return not self.is_exceeded
