"""Expansion of variables and braces in a word. Source: POSIX.1-2017, XCU, section 2.6.

A variable that the script does not set keeps its name, between two marks, until its word is whole.
Between letters such a name only tears a word apart, and `without_unset` removes it.
"""

from collections.abc import Mapping

from pipeguard.detect.commands.shell_command import MAX_VALUE
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_WORDS = 64  # that braces may make of one word
MAX_NESTED_BRACES = 3

# Before and after the name of a variable that the script does not set.
_UNSET = "\ue0f0"
_UNSET_END = "\ue0f1"
_UNSET_NAME = lazy_regex(f"{_UNSET}([^{_UNSET_END}]*){_UNSET_END}")
_UNSET_INSIDE = lazy_regex(f"(?<=[A-Za-z])(?:{_UNSET}[^{_UNSET_END}]*{_UNSET_END})+(?=[A-Za-z])")
_EXPANSION = lazy_regex(r"(?s)(!?)([A-Za-z_][A-Za-z0-9_]*|[@*0-9])(?:\[[@*0-9]{1,4}\])?(.*)")
_SUBSTRING = lazy_regex(r":[ ]?(-?[0-9]{1,6})(?::[ ]?(-?[0-9]{1,6}))?")
_BRACE = lazy_regex(r"(?<!\$)\{([^{}]{0,4000})\}")


def expand_variable(values: Mapping[str, str], name: str) -> str:
    """The value of `$name`."""
    return values.get(name, f"{_UNSET}{name}{_UNSET_END}")[:MAX_VALUE]


def expand_parameter(values: Mapping[str, str], body: str) -> str:
    """The value of `${body}`."""
    match = _EXPANSION.fullmatch(body)
    if not match:
        return ""
    indirect, name, operation = match.groups()
    if indirect:
        name = values.get(name, name)
    if name in "@*" or name.isdigit():
        return ""
    value = values.get(name)
    if operation[:2] in (":-", ":=") or operation[:1] in ("-", "="):
        return operation.lstrip(":-=") if value is None else value
    if value is None:
        # With an operation on it, an unset variable in small letters is as good as empty.
        return "" if operation and name.islower() else expand_variable(values, name)
    return _substring(value, operation)[:MAX_VALUE]


def _substring(value: str, operation: str) -> str:
    """The characters that `:start:length` selects; other operations leave the value unchanged."""
    match = _SUBSTRING.fullmatch(operation)
    if not match:
        return value
    start = int(match[1])
    rest = value[start:] if start >= 0 else value[max(0, len(value) + start) :]
    return rest if match[2] is None else rest[: int(match[2])]


def without_unset(word: str) -> str:
    """A word in which a variable that the script does not set is written as `$name` again."""
    if _UNSET not in word:
        return word
    return _UNSET_NAME.sub(r"$\1", _UNSET_INSIDE.sub("", word))


def brace_words(word: str) -> list[str]:
    """The words that `{a,b}` expands to."""
    words = [word]
    for _ in range(MAX_NESTED_BRACES):
        if len(words) > MAX_WORDS or not any("{" in word for word in words):
            break
        words = [wider for word in words for wider in _first_brace_words(word)][:MAX_WORDS]
    return words


def _first_brace_words(word: str) -> list[str]:
    for match in _BRACE.finditer(word):
        if "," in match[1]:
            head = word[: match.start()]
            tail = word[match.end() :]
            return [head + choice + tail for choice in match[1].split(",")[:MAX_WORDS]]
    return [word]
