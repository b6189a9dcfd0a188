"""The arguments of one message as what they would do, each in the lines that rules are run over.

Looks at what each argument is for (core.commands.argument_roles) and has it read accordingly:
commands, programs and statements by core.commands.interpret and core.commands.sql; other values for
a path, an option, or a command that is smuggled into them. What is only written or said does
nothing and is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipeguard.core.commands.argument_roles import (
    ArgumentRole,
    is_of_database,
    is_shell,
    writes,
)
from pipeguard.core.commands.argument_usage import IDLE, Uses
from pipeguard.core.commands.interpret import argument_lines, code_lines, command_lines
from pipeguard.core.commands.path_normalisation import path_lines
from pipeguard.core.commands.posix_shell import Effort
from pipeguard.core.commands.programs import flat
from pipeguard.core.commands.sql import is_statement, statements
from pipeguard.core.protocol.places import Path
from pipeguard.core.text.document import MessageText
from pipeguard.core.unicode import folding
from pipeguard.core.words.notation import word_set

MAX_CHARS = 4 * 2**20  # of all strings of one message that are read, at most 3 us each
MAX_VALUE = 1500  # characters of a value that is no command, read at a time
VALUE_OVERLAP = 300  # of these that are read twice
# Of so many characters a program on one line has a bracket, or the end of a statement.
CODE_SHARE = 50


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
    segment: int


def effects_of(uses: Uses, *, windows: bool = True) -> tuple[list[Deed], bool]:
    """What the arguments of a message would do.

    Args:
        uses: its strings, as `key: value`, and what each is for.
        windows: False where no line for PowerShell or cmd stands in them.

    Returns:
        The deeds, and True where there was more than is read of one message.
    """
    text, tool = uses.text, uses.tool
    found: list[Deed] = []
    left, is_started, effort = MAX_CHARS, False, Effort(len(text.data))
    for group in _groups(uses, _is_idle):
        first = group[0]
        purpose = uses.role(first.path)
        if purpose in IDLE and not (len(group) == 1 and _is_token(first.value)):
            continue
        left -= sum(len(one.value) for one in group)
        if left < 0:
            return found, True
        lines = _lines(tool, purpose, group, windows=windows, effort=effort)
        if lines:
            is_started = is_started or any(map(_IS_STARTED.match, lines))
            found.append(_deed(text, group, lines))
    if is_started:  # what is written there is run later
        written = [one for group in _groups(uses, _acts) for one in group]
        script = "\n".join(one.value for one in written)
        if written:
            found.append(
                _deed(text, written, command_lines(script, windows=windows, effort=effort))
            )
    return found, effort.is_cut


def _is_idle(uses: Uses, path: Path) -> bool:
    return uses.role(path) in IDLE and not uses.is_alone(path)


def _acts(uses: Uses, path: Path) -> bool:
    return uses.role(path) not in IDLE


def _deed(text: MessageText, group: list[_String], lines: list[str]) -> Deed:
    data = "\n" + "\n".join(dict.fromkeys(lines)) + "\n"
    start, end = text.stretch(group[0].segment)[0], text.stretch(group[-1].segment)[1]
    return Deed(data.encode("utf-8", "replace"), start, max(end, start + 1))


_IS_STARTED = re.compile(
    r"> (?:.*/)?(?:\.(?:bash|zsh|ksh|csh|tcsh)(?:rc|_profile|_login|_logout|_aliases)|\.zshenv|"
    r"\.(?:zprofile|profile|login|xinitrc|xprofile|xsession|envrc)|config\.fish|rc\.local|"
    r"\.git/hooks/[a-z-]+|\.husky/[a-z-]+|cron[a-z.]*(?:/.*)?|.*\.(?:service|desktop|timer))\Z"
)


def _groups(uses: Uses, is_left_out: Callable[[Uses, Path], bool]) -> Iterator[list[_String]]:
    """The arguments of a message, those of one list together, and a program with its arguments."""
    group: list[_String] = []
    is_call = uses.tool is not None and uses.text.has("params")
    for path, value, segment in uses.text.strings():
        if is_left_out(uses, path) or _is_aside(path, is_call=is_call):
            continue
        one = _String(path, value, segment)
        if group and _belongs(group, one):
            group.append(one)
            continue
        if group:
            yield group
        group = [one]
    if group:
        yield group


def _is_aside(path: Path, *, is_call: bool) -> bool:
    """True for what stands in a message and is no argument."""
    if path[:1] == ("params",):
        return len(path) > 1 and path[1] in ("name", "_meta")
    return is_call


def _belongs(group: list[_String], one: _String) -> bool:
    last, path = group[-1], one.path
    if not _in_list(one):
        return False
    if _in_list(last):
        return last.path[:-1] == path[:-1]
    # `command: rm` and then `args: [...]`, beside each other
    beside = last.path[:-1] == path[:-2] and len(group) == 1
    return beside and _is_program(last)


def _is_program(one: _String) -> bool:
    name = str(one.path[-1]).lower() if one.path else ""
    return name in _PROGRAM_KEYS and 0 < len(one.value) < 200 and " " not in one.value


_PROGRAM_KEYS = word_set("command cmd program executable binary bin path file tool exe")


def _is_token(value: str) -> bool:
    """True for what is no prose, whatever its name: one word that leads somewhere."""
    if len(value) >= 300:
        return False
    if value.startswith("-"):
        return _OPTION.match(value) is not None and "\n" not in value
    return ("/" in value or "%" in value) and not re.search(r"\s", value)


def _lines(
    tool: str | None, purpose: ArgumentRole, group: list[_String], *, windows: bool, effort: Effort
) -> list[str]:
    if len(group) > 1 or (_in_list(group[0]) and _key(group[0]) in _OPTION_KEYS):
        return _lines_of_list(tool, purpose, group, windows=windows, effort=effort)
    value = _plain(group[0].value)
    if purpose is ArgumentRole.COMMAND:
        return _command(_key(group[0]), value, windows=windows, effort=effort)
    if purpose is ArgumentRole.CODE:
        return (
            command_lines(value, windows=windows, effort=effort)
            if is_shell(tool)
            else code_lines(value, effort=effort)
        )
    if purpose is ArgumentRole.STATEMENT:
        is_value = not is_statement(value) and not _CONDITION.match(value) and _CLOSES.search(value)
        return statements(value) + ([f"VAL {' '.join(value.split())}"] if is_value else [])
    if purpose in IDLE:
        options = [f"OPT {value}"] if _OPTION.match(value) else []
        return options + path_lines(group[0].value, value, writes=False)
    return _value_lines(tool, group[0], effort)


def _in_list(one: _String) -> bool:
    return bool(one.path) and isinstance(one.path[-1], int)


def _command(key: str, value: str, *, windows: bool, effort: Effort) -> list[str]:
    if value.startswith("-") and key in _NO_OPTION_KEYS:
        return _options(key, value)
    words = _as_list(value)
    lines = (
        argument_lines(words, effort=effort)
        if words
        else command_lines(value, windows=windows, effort=effort)
    )
    return lines + (statements(value) if _STATEMENT.match(value) else [])


def _lines_of_list(
    tool: str | None, purpose: ArgumentRole, group: list[_String], *, windows: bool, effort: Effort
) -> list[str]:
    values = [_plain(one.value) for one in group]
    options = _program_options(tool, _key(group[0]), values)
    is_command = _PROGRAM.match(values[0]) is not None
    program = [] if is_command else _named_after(tool, _key(group[0]))
    command = program + values
    if purpose in (ArgumentRole.COMMAND, ArgumentRole.CODE):
        lines = [] if " " in command[0].strip() else argument_lines(command, effort=effort)
        script = "\n".join(value for value in values if " " in value)
        return options + lines + command_lines(script, windows=windows, effort=effort)
    if purpose is ArgumentRole.STATEMENT:
        return [line for value in values for line in statements(value)]
    lines = argument_lines(command, effort=effort) if is_command or program else []
    if not is_command:
        lines = options + lines
    return lines + [line for one in group for line in _value_lines(tool, one, effort)]


def _program_options(tool: str | None, key: str, values: list[str]) -> list[str]:
    """What a tool hands to the one program that it is named after, or that it hides."""
    if key not in _OPTION_KEYS or is_shell(tool):
        return []
    words = _LETTERS.findall((tool or "").lower())
    program = next((word for word in words if word in _OF_PROGRAMS), "?")
    if program == "?" and not values[0].startswith("-"):
        return []
    return [" ".join(["ARG", program, *map(flat, values), ""])[:MAX_VALUE]]


def _named_after(tool: str | None, key: str) -> list[str]:
    """The command that a tool is named after, where a list holds its arguments: `docker run`."""
    if key not in _OPTION_KEYS:
        return []
    words = _LETTERS.findall((tool or "").lower())
    start = next((at for at, word in enumerate(words) if word in _LIKE_COMMANDS), len(words))
    return words[start:]


# Programs that reach files, hosts and machines by their arguments alone.
_LIKE_COMMANDS = word_set("curl wget docker podman nerdctl kubectl oc helm aws gcloud az dd tee rm")
# Programs that run others where an option says so.
_OF_PROGRAMS = word_set("git hg find fd tar rsync ssh scp sftp zip rg grep man ffmpeg")
_LETTERS = re.compile(r"[a-z]+")


def _value_lines(tool: str | None, one: _String, effort: Effort) -> list[str]:
    """A path, an option or a command inside of a value that is none of them."""
    value = one.value
    if len(value) > MAX_VALUE:
        return _long_value_lines(tool, one, effort)
    if not value:
        return []
    folded = _plain(value)
    key = _key(one)
    lines = path_lines(value, folded, writes=writes(tool, key)) if _LEADS.search(folded) else []
    if key in _PROGRAM_TEXTS:
        lines += code_lines(folded, effort=effort)
    if "-" in folded:
        lines += _options(key, folded)
    if folded.count("\n") > MAX_VALUE_LINES:
        return lines
    if _QUERIES.search(folded) and not (key in _CONDITION_KEYS and _CONDITION.match(folded)):
        if _STATEMENT.match(folded) and is_of_database(tool):
            lines += statements(folded)
        else:
            lines.append(f"VAL {' '.join(folded.split())}")
    if _SHELL_SIGN.search(folded) and _injects(folded):
        lines.append(f"INJ {' '.join(folded.split())}")
        lines += command_lines(folded, effort=effort)
    return lines


def _long_value_lines(tool: str | None, one: _String, effort: Effort) -> list[str]:
    """The same of a long value, part by part; none of a document, which is read as one."""
    if one.value.count("\n") > MAX_VALUE_LINES or not any(map(str.isspace, one.value)):
        return []
    found: list[str] = []
    for at in range(0, len(one.value), MAX_VALUE - VALUE_OVERLAP):
        part = one.value[at : at + MAX_VALUE]
        lines = _value_lines(tool, one._replace(value=part.lstrip("-") if at else part), effort)
        # In a program on one line, quotes and what follows them go on as no statement.
        is_program = CODE_SHARE * sum(map(part.count, "{};")) > len(part)
        found += (line for line in lines if not (is_program and line.startswith("VAL ")))
    return found


def _key(one: _String) -> str:
    return next((step for step in reversed(one.path) if isinstance(step, str)), "").lower()


def _options(key: str, value: str) -> list[str]:
    """What a program would take for options of its own."""
    if value.startswith("-"):
        if not _OPTION.match(value) or key in _OPTION_KEYS:
            return []
        return [f"{'DASH' if key in _NO_OPTION_KEYS else 'OPT'} {' '.join(value.split())}"]
    if " -" in value and "\n" not in value:
        return [f"OPT {match[1]}" for match in _LATER_OPTION.finditer(value)]
    return []


# A value that is looked for and goes on as a condition.
_CLOSES = re.compile(r"['\"].{0,200}(?:=|--|/\*|\()", re.DOTALL)
MAX_VALUE_LINES = 3  # of a value that is put into a command or a statement; more is a document
_LEADS = re.compile(r"[/\\~%.]|id_")
_SHELL_SIGN = re.compile(r"[;&|`$<\n]|%0")
_PROGRAM_TEXTS = word_set("code script program expression expr formula function")
# A condition in a language of its own, as a tracker or a log has one.
_CONDITION_KEYS = word_set(
    "jql cql kql wiql lucene rsql odata filter filters where condition conditions query q search "
    "filterexpression filter_expression expression criteria rule when predicate"
)
_CONDITION = re.compile(
    r"\s{0,4}(?:not\s)?\(?\s{0,4}[A-Za-z_][\w.\[\]\"-]{0,60}\s{0,4}"
    r"(?:!?=|!?~|<|>|:|\b(?:in|not in|is|like|eq|ne|gt|ge|lt|le|contains|between|was)\b)",
    re.IGNORECASE,
)
# Names of what never begins with a dash: whoever passes one speaks to the program behind.
_NO_OPTION_KEYS = word_set(
    "url uri repo repository remote remote_url path file filename file_path filepath dir directory "
    "folder branch ref revision rev commit sha tag host hostname server address domain ip target "
    "image image_name container container_id archive source src destination dest dst input "
    "input_file output output_file package package_name module page document dbname database db "
    "user username email to resource pod namespace device interface base head range from_ref "
    "to_ref cwd workdir root entry target_path source_path clone_url project project_path"
)


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


# A value that goes on as a statement has a quote, an end, a comment, a sign that compares, or one
# of a few words.
_QUERIES = re.compile(r"['\"`;=#(<]|--|\|\||(?i:union|select|waitfor|case|having|order by)")
_OPTION = re.compile(r"--?[A-Za-z][\w-]{0,40}")
_LATER_OPTION = re.compile(r"(?<=\s)(--?[A-Za-z][\w-]{2,40}[= ]?\S{0,200})")
_OPTION_KEYS = word_set(
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
    rf"|(?:{_PERHAPS})(?:\s|%20){{1,4}}(?:-|/|~|\$|\.{{1,2}}/|>|<|[^\s|]{{0,60}}[/$>]|\d{{1,4}}(?:\s|;|\Z|#)"
    r"|[\w-]{1,60}\.[\w.-]{1,60}))"
    rf"|(?:;|&&|\|\|?|&)\s{{0,4}}{_PREFIX}(?:id|ls|env|whoami|reboot|halt|ps|w|dir|set|shutdown)\s{{0,4}}"
    r"(?:\Z|[;&#>]|\|\s{0,4}\w)"
    rf"|\$\(\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})(?:[\s)<>|;$]|\Z)"
    rf"|(?:[^\s`]`|`\s{{0,4}}(?=[^`]{{0,200}}[\s>|;$]))\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})"
    r"(?:\s{1,4}[^`\s]{0,80}[-/$.>|;]|[`>|;$<])"
    r"|\$\{?IFS|<\(\s{0,4}\w{2,12}\s|\$\(\([^)\n]{0,40}\)\)\s{0,4}[;|&]"
    rf"|\A\s{{0,4}}(?:print\s|echo\s)?`\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})(?:\s[^`\n]{{0,80}})?`\s{{0,4}}\Z"
    rf"|'\s{{0,4}}[;&|]{{1,2}}\s{{0,4}}{_PREFIX}(?:{_SURE}|{_PERHAPS})\s",
    re.IGNORECASE,
)


def _injects(value: str) -> bool:
    """True where a value goes on as a command."""
    if "|" in value and re.search(r"^\s*\|.*\|\s*$", value, re.MULTILINE):
        return False  # a table
    return _INJECTED.search(value) is not None
