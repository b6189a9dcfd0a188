"""The arguments of one message as what they would do, each in the lines that rules are run over.

Looks at what each argument is for (core.roles) and has it read accordingly: commands, programs
and statements by core.acts and core.statements; other values for a path, an option, or a command
that is smuggled into them. What is only written or said does nothing and is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeguard.core import folding
from pipeguard.core.acts import MAX_TEXT, argument_lines, code_lines, command_lines
from pipeguard.core.places import Path
from pipeguard.core.roles import Role, is_shell, listed, role, writes
from pipeguard.core.statements import statements
from pipeguard.core.text import Text
from pipeguard.core.trails import path_lines

MAX_STRINGS = 400  # of one message that are read
MAX_BYTES = 2 * MAX_TEXT  # of all of them
MAX_VALUE = 1500  # characters of a value that is no command


class Deed(NamedTuple):
    """What one argument, or a list of them, would do.

    Attributes:
        data: the lines, in UTF-8.
        start: where the argument begins in the text, in bytes.
        end: where it ends.
    """

    data: bytes
    start: int
    end: int


class _String(NamedTuple):
    path: Path
    value: str
    start: int
    end: int


def deeds(text: Text, tool: str | None) -> tuple[list[Deed], bool]:
    """What the arguments of a message would do.

    Args:
        text: its strings, as `key: value`.
        tool: the tool that is called.

    Returns:
        The deeds, and True where there was more than is read of one message.
    """
    found: list[Deed] = []
    left, strings = MAX_BYTES, 0
    for group in _groups(text):
        first = group[0]
        purpose = role(tool, first.path)
        if purpose in (Role.WRITTEN, Role.ASKED) and not (
            len(group) == 1 and _is_token(first.value)
        ):
            continue
        strings += len(group)
        left -= group[-1].end - first.start
        if strings > MAX_STRINGS or left < 0:
            return found, purpose is not Role.VALUE
        lines = _lines(tool, purpose, group)
        if lines:
            data = "\n" + "\n".join(dict.fromkeys(lines)) + "\n"
            encoded = data.encode("utf-8", "replace")
            found.append(Deed(encoded, first.start, max(group[-1].end, first.start + 1)))
    return found, False


def _groups(text: Text) -> Iterator[list[_String]]:
    """The strings of a message, those of one list together, and a program with its arguments."""
    group: list[_String] = []
    for path, value, start, end in text.strings():
        one = _String(path, value, start, end)
        if group and _belongs(group, one):
            group.append(one)
            continue
        if group:
            yield group
        group = [one]
    if group:
        yield group


def _belongs(group: list[_String], one: _String) -> bool:
    last, path = group[-1], one.path
    if not (path and isinstance(path[-1], int)):
        return False
    if last.path and isinstance(last.path[-1], int):
        return last.path[:-1] == path[:-1]
    # `command: rm` and then `args: [...]`, beside each other
    beside = last.path[:-1] == path[:-2] and len(group) == 1
    return beside and _is_program(last)


def _is_program(one: _String) -> bool:
    name = str(one.path[-1]).lower() if one.path else ""
    return name in _PROGRAM_KEYS and 0 < len(one.value) < 200 and " " not in one.value


_PROGRAM_KEYS = listed("command cmd program executable binary bin path file tool exe")


def _is_token(value: str) -> bool:
    """True for what is no prose, whatever its name: one word that leads somewhere."""
    leads = "/" in value or "%" in value or value.startswith("-")
    return len(value) < 300 and leads and not re.search(r"\s", value)


def _lines(  # noqa: PLR0911  one for each purpose
    tool: str | None, purpose: Role, group: list[_String]
) -> list[str]:
    values = [_plain(one.value) for one in group]
    if len(group) > 1:
        if purpose in (Role.COMMAND, Role.CODE):
            lines = [] if " " in values[0].strip() else argument_lines(values)
            return lines + command_lines("\n".join(value for value in values if " " in value))
        if purpose is Role.STATEMENT:
            return [line for value in values for line in statements(value)]
        lines = argument_lines(values) if _PROGRAM.match(values[0]) else []
        return lines + [line for one in group for line in _value_lines(tool, one)]
    value = values[0]
    if purpose is Role.COMMAND:
        words = _as_list(value)
        lines = argument_lines(words) if words else command_lines(value)
        return lines + (statements(value) if _STATEMENT.match(value) else [])
    if purpose is Role.CODE:
        return command_lines(value) if is_shell(tool) else code_lines(value)
    if purpose is Role.STATEMENT:
        return statements(value)
    if purpose in (Role.WRITTEN, Role.ASKED):
        options = [f"OPT {value}"] if _OPTION.match(value) else []
        return options + path_lines(value, _plain(value), writes=False)
    return _value_lines(tool, group[0])


def _value_lines(tool: str | None, one: _String) -> list[str]:
    """A path, an option or a command inside of a value that is none of them."""
    value = one.value
    if not value or len(value) > MAX_VALUE:
        return []
    folded = _plain(value)
    key = next((str(step) for step in reversed(one.path) if isinstance(step, str)), "")
    lines = path_lines(value, folded, writes=writes(tool, key))
    if key.lower() in ("code", "script", "program", "expression", "expr", "formula", "function"):
        lines += code_lines(folded)
    if _OPTION.match(folded) and key.lower() not in _OPTION_KEYS:
        lines.append(f"OPT {' '.join(folded.split())}")
    elif " -" in folded and "\n" not in folded:
        lines += [f"OPT {match[1]}" for match in _LATER_OPTION.finditer(folded)][:8]
    if _QUERIES.search(folded):
        lines.append(f"VAL {' '.join(folded.split())}")
    if _injects(folded):
        lines.append(f"INJ {' '.join(folded.split())}")
        lines += command_lines(folded)[:50]
    return lines


def _plain(value: str) -> str:
    return value if value.isascii() else folding.fold(value.encode("utf-8", "replace"))[0].decode()


def _as_list(value: str) -> list[str]:
    """A command that is given as the JSON of a list."""
    if not value.lstrip()[:2].startswith('["'):
        return []
    try:
        words: object = json.loads(value)
    except (ValueError, RecursionError):
        return []
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return [str(word) for word in words]
    return []


_QUERIES = re.compile(
    r"['\"`;]|--|\b(?:or|and|union|select|having|sleep|waitfor|order by)\b|\|\||&&|\bcase\b",
    re.IGNORECASE,
)
_OPTION = re.compile(r"--?[A-Za-z][\w-]{0,40}")
_LATER_OPTION = re.compile(r"(?<=\s)(--?[A-Za-z][\w-]{2,40}[= ]?\S{0,200})")
_OPTION_KEYS = listed(
    "options option opts opt flags flag args arguments argv params extra extra_args value"
)
_STATEMENT = re.compile(
    r"\s*(?:select|insert|update|delete|drop|truncate|alter|create|grant|revoke|copy|attach|exec|"
    r"load|merge|replace|call|do|set|flushall|flushdb|config|eval|script|debug|slaveof|replicaof|"
    r"module|shutdown|keys|db\.)\b",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    r"(?:/(?:usr/)?(?:local/)?s?bin/)?(?:sudo|(?:ba|z|da|k)?sh|rm|curl|wget|nc|ncat|dd|find|"
    r"python3?|perl|node|cmd|powershell|pwsh|docker|chmod|env)\Z"
)

# A program's name that is no English word, or one with arguments that no prose has.
_SURE = (
    r"curl|wget|ncat|netcat|bash|zsh|whoami|uname|nslookup|ifconfig|netstat|printenv|base64|chmod|"
    r"powershell|pwsh|mkfifo|telnet|tftp|scp|xargs|ipconfig|systeminfo|python3?|perl|socat|"
    r"busybox|chown|wscript|certutil|mshta|rundll32|pwd|iptables|useradd|crontab"
)
_PERHAPS = (
    r"cat|rm|sh|nc|id|ls|env|echo|touch|sleep|ping|head|tail|ssh|dig|ps|kill|reboot|shutdown|tee|"
    r"awk|sed|find|eval|exec|source|export|node|ruby|php|cp|mv|dd|type|dir|net|cmd|host|mail|halt|"
    r"less|more|tar|set|date|hostname|w|who|last|cd|mkdir|strings|xxd|printf|test|true|su|sudo"
)
_PREFIX = r"(?:sudo\s{1,4})?(?:/(?:usr/)?(?:local/)?s?bin/)?"
_INJECTED = re.compile(
    # after a separator, a sure name; or any name with an argument that no prose has; or at the end
    rf"(?:[;\n]|&&?|\|\|?|%0a)\s{{0,8}}{_PREFIX}(?:(?:{_SURE})(?:\s|[;&|>\"'#)]|\Z)"
    rf"|(?:{_PERHAPS})\s{{1,4}}(?:-|/|~|\$|\.{{1,2}}/|>|<|[^\s|]{{0,60}}[/$>]|\d{{1,4}}(?:\s|;|\Z|#)"
    r"|[\w-]{1,60}\.[\w.-]{1,60}))"
    rf"|(?:;|&&|\|\|?|&)\s{{0,4}}{_PREFIX}(?:id|ls|env|whoami|reboot|halt|ps|w|dir|set|shutdown)\s{{0,4}}"
    r"(?:\Z|[;&#>]|\|\s{0,4}\w)"
    rf"|\$\(\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})(?:[\s)<>|;$]|\Z)"
    rf"|(?:[^\s`]`|`\s{{0,4}}(?=[^`]{{0,200}}[\s>|;$]))\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})"
    r"(?:\s{1,4}[^`\s]{0,80}[-/$.>|;]|[`>|;$<])"
    r"|\$\{?IFS|<\(\s{0,4}\w{2,12}\s|\$\(\([^)\n]{0,40}\)\)\s{0,4}[;|&]"
    rf"|'\s{{0,4}}[;&|]{{1,2}}\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})\s",
    re.IGNORECASE,
)


def _injects(value: str) -> bool:
    """True where a value goes on as a command."""
    if "|" in value and re.search(r"^\s*\|.*\|\s*$", value, re.MULTILINE):
        return False  # a table
    return _INJECTED.search(value) is not None
