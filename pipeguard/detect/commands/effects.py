"""The effects of one message's arguments, as the lines that rules are run over.

Reads each argument by its role (detect.commands.argument_roles): commands, programs and statements
by detect.commands.interpret and detect.commands.sql, other values by
detect.commands.argument_values. Text that is only written or searched for has no effect and is not
read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from pipeguard.detect.commands import argument_values, client_files, own, path_normalisation
from pipeguard.detect.commands.argument_roles import (
    IDLE,
    ArgumentRole,
    is_field,
    is_shell,
    only_looks,
    role,
    takes_requests,
)
from pipeguard.detect.commands.argument_usage import ArgumentEffect, Uses, is_read_inside
from pipeguard.detect.commands.argument_values import (
    CONDITION,
    MAX_VALUE,
    OPTION,
    STATEMENT,
    fold_value,
    read_field,
    read_options,
    read_token,
)
from pipeguard.detect.commands.interpret import MADE, argument_lines, code_lines, command_lines
from pipeguard.detect.commands.notations import find_members, is_json, parse_json
from pipeguard.detect.commands.programs import fill_blanks
from pipeguard.detect.commands.shell_command import GAP, ScriptBudget
from pipeguard.detect.commands.sql import breakout_lines, is_statement, read_statements
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.words import arguments as lists
from pipeguard.detect.words import programs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, Path
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value
from pipeguard.records import NamedTuple

MAX_CHARS = 4 * 2**20  # of all strings of one message that are read, at most 3 us each
MAX_TOKEN = 300  # characters of a path or an option in an argument for text
MAX_ACT = 24  # characters of a word for what a tool does
MAX_PROGRAM_NAME = 200  # characters

# The content of such a file is run later: start-up files of a shell, hooks, jobs, services.
_WRITES_STARTED_FILE = lazy_regex(
    r"""(?x)>\x20(?:
    (?:.*/)?(?:(?:setup|conftest|(?:site|user)customize|noxfile)\.py|build\.rs|gulpfile\.[cm]?js
      |[\w-]+\.config\.[cm]?[jt]s|[\w-]+\.gemspec|\.pre-commit-config\.yaml)
    | .*\.(?:service|desktop|timer|plist)
    | (?:.*/)?(?:\.zshenv|\.(?:bash|zsh|ksh|csh|tcsh)(?:rc|_profile|_login|_logout|_aliases)
      |\.(?:zprofile|profile|login|xinitrc|xprofile|xsession|envrc)|config\.fish
      |environment\.d/[^/]*|/?etc/environment|\.pam_environment|profile\.d/[^/]*|rc\.local
      |\.git/(?:hooks/[a-z-]+|config)|\.gitconfig|\.ssh/config|\.husky/[a-z-]+|cron[a-z.]*(?:/.*)?)
    )\Z"""
)
_PROGRAM = lazy_regex(
    rf"(?:/(?:usr/)?(?:local/)?s?bin/)?(?:{programs.alternatives('NAMED_PROGRAMS')})\Z"
)
# A line that is only in shell scripts: a tool that runs code may well run it.
_SHELL_LINE = lazy_regex(
    r"(?:^|[|;&\n]|&&)[ \t]{0,8}(?:sudo[ \t]+)?(?:/[\w/]{1,40}/)?(?:"
    rf"{programs.alternatives('LINE_PROGRAMS')}|mkfs[.\w]*|\$\()[ \t`]+(?![=(.])\S"
)
_ACTED_ON = ArgumentRole.VALUE, ArgumentRole.COMMAND, ArgumentRole.STATEMENT
_RUN_NAMES = lists.COMMAND | lists.CODE | lists.FOLDERS
_NAME_WORD = lazy_regex(r"[a-z]+")


class _String(NamedTuple):
    path: Path
    value: str
    segment: int

    @property
    def key(self) -> str:
        """The nearest name, in small letters."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "").lower()

    @property
    def is_in_list(self) -> bool:
        """True for an item of a list."""
        return bool(self.path) and isinstance(self.path[-1], int)


def find_effects(uses: Uses, *, windows: bool = True) -> tuple[list[ArgumentEffect], bool]:
    """The effects of a message's arguments, computed once.

    Args:
        uses: its strings, as `key: value`, with their roles.
        windows: False if they contain nothing for PowerShell or cmd.

    Returns:
        The effects, and True if there was more than is read of one message.
    """
    if windows not in uses.effects:
        names = (around[-1] if around else "" for around in uses.text.names_around)
        acting = _name_acts(uses.tool, zip(names, uses.text.strings, strict=True))
        reader = _ArgumentReader(acting, ScriptBudget(len(uses.text.data)), windows=windows)
        effects = []
        for group, lines in reader.read(uses):
            made = [line.removeprefix(MADE) for line in lines if line.startswith(MADE)]
            composed = "\n".join(made).replace(GAP, " ").encode("utf-8", "replace")
            start = uses.text.stretch(group[0].segment)[0]
            end = max(start + 1, uses.text.stretch(group[-1].segment)[1])
            rest = (line for line in lines if not line.startswith(MADE))
            effects.append(ArgumentEffect(_join_lines(rest), start, end, composed))
        uses.effects[windows] = effects, reader.budget.is_exceeded
    return uses.effects[windows]


def flat_effects(
    tool: str | None, arguments: Mapping[str, JsonValue], size: int, *, windows: bool
) -> bytes | None:
    """The lines of `find_effects` for a call with short arguments, without their places.

    Args:
        tool: the called tool.
        arguments: of the call.
        size: of its text, in bytes.
        windows: False if they contain nothing for PowerShell or cmd.

    Returns:
        The lines; None if arguments may belong together, or do more than their lines say.
    """
    reader = _ArgumentReader(
        _name_acts(tool, arguments.items()), ScriptBudget(size), windows=windows
    )
    shown = []
    if client_files.find_client_files([each for each in arguments.values() if type(each) is str]):
        return None
    for name, value in arguments.items():
        if isinstance(value, (dict, list, Number)) or own.may_name(f"\n{name}={value}"):
            return None
        if not isinstance(value, str) or not value:
            continue
        path = *ARGUMENTS, name
        purpose = role(tool, path)
        if purpose in IDLE and is_read_inside(value, tool, arguments):
            purpose = ArgumentRole.VALUE
        if purpose in IDLE and not _names_file(value):
            continue
        lines = reader.lines(purpose, [_String(path, value, 0)])
        if any(line.startswith(MADE) or _WRITES_STARTED_FILE.match(line) for line in lines):
            return None
        if lines:
            shown.append(_join_lines(lines))
    return None if reader.budget.is_exceeded else b"\n".join(shown)


def _name_acts(tool: str | None, named: Iterable[tuple[str, JsonValue]]) -> str:
    """The name of a tool, and what it does by an argument: an operation, or another tool."""
    keys = lists.OPERATIONS | ({"name"} if "proxy" in (tool or "").lower() else set())
    acts = dict.fromkeys(str(value)[:MAX_ACT] for name, value in named if name in keys)
    return " ".join((tool or "", *(act for act in acts if len(act) < MAX_ACT and " " not in act)))


def _names_file(value: str) -> bool:
    """True for a path, an option or a patch, unlike prose."""
    if len(value) >= MAX_TOKEN or "\n" in value:
        return bool(path_normalisation.patch_lines(value))
    is_path = ("/" in value or "%" in value) and not re.search(r"\s", value)
    return is_path or OPTION.match(value) is not None


def _join_lines(lines: Iterable[str]) -> bytes:
    return "\n".join(["", *dict.fromkeys(lines), ""]).encode("utf-8", "replace")


# -- arguments that belong together --------------------------------------------------------------


def _group_strings(uses: Uses, *, only_idle: bool = False) -> Iterator[list[_String]]:
    """The arguments of a message, grouped by list, and a program with its arguments.

    Args:
        uses: the strings.
        only_idle: True for idle ones and what is in them; False for others and single words.
    """
    group: list[_String] = []
    text = uses.text
    is_call = uses.tool is not None  # by its params
    strings = zip(text.strings, text.names_around, strict=True)
    for segment, (value, names) in enumerate(strings):
        if not value or (is_call and names[:1] != ARGUMENTS[:1]):
            continue
        if only_idle:
            outer = (names[:at] for at in range(len(ARGUMENTS) + 1, len(names)))
            is_read = any(uses.role_by_names(each) in IDLE for each in (names, *outer))
        else:
            is_read = uses.role_by_names(names) not in IDLE or _names_file(value)
        if not is_read:
            continue
        path = text.segment_path(segment)
        if path[:1] == ARGUMENTS[:1] and path[1:2] in (("name",), ("_meta",)):
            continue
        string = _String(path, value, segment)
        if group and not _belongs(group, string):
            yield group
            group = []
        group.append(string)
    if group:
        yield group


def _belongs(group: list[_String], string: _String) -> bool:
    """True for another item of the same list, and for the first item after its program's name."""
    last = group[-1]
    if last.is_in_list or not string.is_in_list:
        return string.is_in_list and last.path[:-1] == string.path[:-1]
    # `command: rm` and then `args: [...]`, side by side
    is_beside = last.path[:-1] == string.path[:-2] and len(group) == 1
    is_short = len(last.value) < MAX_PROGRAM_NAME and " " not in last.value
    return is_beside and last.key in lists.PROGRAM_NAMES and is_short


# -- lines of a group ----------------------------------------------------------------------------


# Strings that belong together, with their lines.
_Read = tuple[list[_String], list[str]]


def _words_of_tool(tool: str | None) -> list[str]:
    return _NAME_WORD.findall((tool or "").lower())


class _ArgumentReader:
    """Reads the arguments of one message.

    Attributes:
        budget: the rest of the message's.
    """

    def __init__(self, tool: str | None, budget: ScriptBudget, *, windows: bool) -> None:
        self.budget = budget
        self._tool = tool
        self._windows = windows
        self._left = MAX_CHARS
        self._folder = ""  # in which the commands run

    def read(self, uses: Uses) -> Iterator[_Read]:
        """Arguments that belong together, each time with their lines; at last what files get."""
        around = uses.text.names_around
        named = zip(around, uses.text.strings, strict=True)
        folders = (each for names, each in named if names[-1:] and names[-1] in lists.FOLDERS)
        self._folder = next(folders, "")
        # Names among the arguments that are no plain words are values, too.
        places = {name: at for at, names in enumerate(around) for name in names}
        odd = (name for name in places if not name.isidentifier())
        named_oddly = ([_String((*ARGUMENTS, "", ""), name, places[name])] for name in odd)
        groups = [*_group_strings(uses), *named_oddly]
        read = []
        for group in groups:
            self._left -= sum(len(string.value) for string in group)
            if self._left < 0:
                self.budget.is_exceeded = True
                return
            lines = self.lines(uses.role(group[0].path), group)
            read.append((group, lines))
            if lines:
                yield group, lines
        yield from self._find_own(uses, read)
        yield from self._read_started_file(uses, read)
        yield from self._find_client_files(uses, groups)

    def _find_own(self, uses: Uses, read: list[_Read]) -> Iterator[_Read]:
        """A line if the call may change PipeGuard's own, by the values that the tool acts on."""
        if not self._tool:
            return
        passed = [each for each in read if each[0][0].key not in _RUN_NAMES]
        values = [
            each for group, _ in passed if uses.role(group[0].path) in _ACTED_ON for each in group
        ]
        named = [(each.key, each.value) for each in values]
        lines = [line for _, lines in passed for line in lines]
        if own.call_changes_ours(self._tool, named, lines):
            yield values or read[-1][0], ["OWN value"]

    def _read_started_file(self, uses: Uses, read: list[_Read]) -> Iterator[_Read]:
        """The lines of what is written to a file that is run later."""
        lines = (line for _, lines in read for line in lines)
        started = next(filter(_WRITES_STARTED_FILE.match, lines), None)
        if started is None:
            return
        contents = [each for group in _group_strings(uses, only_idle=True) for each in group]
        if contents:
            script = "\n".join(each.value for each in contents)
            script_lines = self.command_lines(script) + code_lines(script, budget=self.budget)
            if started.endswith((".py", ".rs", "js", "ts")):  # a test of PipeGuard names it
                script_lines = [line for line in script_lines if not line.startswith("OWN ")]
            yield contents, script_lines

    def _find_client_files(self, uses: Uses, groups: list[list[_String]]) -> Iterator[_Read]:
        """The lines of a call that names clients' files."""
        others = lists.COMMAND | lists.CODE
        if lists.MOVES.isdisjoint(_words_of_tool(self._tool)):
            others |= lists.SOURCES
        texts = [
            each
            for group in groups
            for each in group
            if each.key not in others or "\n" in each.value
        ]
        files = client_files.find_client_files([each.value for each in texts])
        if files:
            arguments = get_value(uses.text.value, ARGUMENTS)
            yield texts, client_files.judge_call(self._tool or "", arguments, files)

    def lines(self, role: ArgumentRole, group: list[_String]) -> list[str]:
        """The lines of arguments that belong together."""
        if role in IDLE:
            return [line for each in group for line in read_token(each.value)]
        if len(group) > 1 or (group[0].is_in_list and group[0].key in lists.OPTION_LISTS):
            return self._lines_of_list(role, group)
        if role is ArgumentRole.VALUE or group[0].key in lists.FOLDERS:
            return self._lines_of_value(group[0])
        lines = self._lines_of_program(role, group[0])
        if role is not ArgumentRole.CODE:
            lines += self._read_members(group[0], parse_json(group[0].value))
        return lines

    def _lines_of_program(self, role: ArgumentRole, string: _String) -> list[str]:
        value = fold_value(string.value)
        if role is ArgumentRole.STATEMENT:
            is_value = not is_statement(value) and not CONDITION.match(value)
            lines = read_statements(value)
            read = [f"READS {line}" for line in lines] if only_looks(self._tool) else []
            return lines + read + (breakout_lines(value) if is_value else [])
        if role is ArgumentRole.CODE:
            return self._lines_of_code(value)
        return self._lines_of_command(string.key, value)

    def _lines_of_value(self, string: _String) -> list[str]:
        """The lines of a value; for JSON, of each string in it, as if it were an argument."""
        read = parse_json(string.value)
        lines = path_normalisation.patch_lines(string.value)
        if read is None:
            read_value = argument_values.read_value
            if is_field(string.path):
                read_value = read_field
            lines += read_value(self._tool, string.key, string.value, self.budget)
        return lines + self._read_members(string, read)

    def _read_members(self, string: _String, read: JsonValue) -> list[str]:
        """The lines of the named values in a text, as if they were arguments.

        Args:
            string: the text.
            read: its value if it is JSON.
        """
        if not read and (takes_requests(self._tool) or is_json(string.value)):
            read = find_members(string.value)
        if not read:
            return []
        for step in reversed(string.path):
            read = {step: read} if isinstance(step, str) else read
        inner = self.read(Uses(MessageText(read, keyed=True), self._tool))
        return [line for _, each in inner for line in each]

    def command_lines(self, script: str) -> list[str]:
        """The lines of a script."""
        return command_lines(script, windows=self._windows, budget=self.budget)

    def _lines_of_command(self, key: str, value: str) -> list[str]:
        if self._folder and own.may_name(f"{self._folder}/{value}"):
            value = f"cd '{self._folder}'\n{value}"
        if value.startswith("-") and key in lists.DASHLESS:
            return read_options(key, value)
        words = _words_of_json(value)
        lines = argument_lines(words, budget=self.budget)
        lines += self.command_lines("\n".join(w for w in words if " " in w) if words else value)
        return lines + (read_statements(value) if STATEMENT.match(value) else [])

    def _lines_of_code(self, value: str) -> list[str]:
        if is_shell(self._tool):
            return self.command_lines(value)
        lines = code_lines(value, budget=self.budget)
        return lines + self.command_lines(value) if _SHELL_LINE.search(value) else lines

    def _lines_of_list(self, role: ArgumentRole, group: list[_String]) -> list[str]:
        key = group[0].key
        values = [fold_value(string.value) for string in group]
        if role is ArgumentRole.STATEMENT:
            return [line for value in values for line in read_statements(value)]
        is_command = _PROGRAM.match(values[0]) is not None
        program = [] if is_command else _program_of_tool(self._tool, key)
        command = program + values
        options = _option_list_lines(self._tool, key, values)
        if role in (ArgumentRole.COMMAND, ArgumentRole.CODE):
            words = command if " " not in command[0].strip() else []
            lines = argument_lines(words, budget=self.budget)
            script = "\n".join(value for value in values if " " in value)
            return options + lines + self.command_lines(script)
        lines = [] if is_command else options
        if is_command or program:
            lines = lines + argument_lines(command, budget=self.budget)
        return lines + [line for string in group for line in self._lines_of_value(string)]


def _words_of_json(value: str) -> list[str]:
    """The words of a command given as a JSON list; empty for any other value."""
    read = parse_json(value)
    return [each for each in read if isinstance(each, str)] if isinstance(read, list) else []


def _option_list_lines(tool: str | None, key: str, values: list[str]) -> list[str]:
    """A line `ARG program ...` for the options that a tool passes to the program behind it.

    The program is the one in the tool's name; `?` if it has none, and the list begins with an
    option.
    """
    if key not in lists.OPTION_LISTS or is_shell(tool):
        return []
    words = _words_of_tool(tool)
    program = next((word for word in words if word in programs.RUNNING_OTHERS), "?")
    if program == "?" and not values[0].startswith("-"):
        return []
    return [" ".join(["ARG", program, *map(fill_blanks, values), ""])[:MAX_VALUE]]


def _program_of_tool(tool: str | None, key: str) -> list[str]:
    """The command that a tool is named after, if a list holds its arguments: `docker run`."""
    if key not in lists.OPTION_LISTS:
        return []
    words = _words_of_tool(tool)
    start = next((at for at, word in enumerate(words) if word in programs.REACHING), len(words))
    return words[start:]
