"""The files that the commands of one script read, write, fetch and run.

Adds a line for each: `< path` if it is read, `> path` if it is written, `OFF path` if it is moved
or linked, and `RUN path` if it was fetched before and is run. Knows programs' uses of their
operands, and no rules.
"""

import re
from collections.abc import Iterator

from pipeguard.detect.commands import programs, shell_command
from pipeguard.detect.commands.programs import fill_blanks, program_name, tidy_path
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_READ = 2000  # files of one script
MAX_WRITTEN = 20  # files of one command
MAX_OPERANDS = 40  # of one command
FEW_ADDRESSES = 4  # from which a file came
ADDRESS_CHARS = 200

_ABSOLUTE = lazy_regex(r"[/~$]|[A-Za-z]:")
_WEB_ADDRESS = lazy_regex(r"(?:https?|ftp)://")
_FILE_ADDRESS = lazy_regex(r"file:/{1,3}(/?\S{1,300})")
_OUTPUT_OPTION = lazy_regex(r"-[a-zA-Z]*o(.*)|--output=(.+)|-[a-zA-Z]*O(.+)")
_UPLOAD_OPTION = lazy_regex("-[a-zA-Z]*T|--(?:upload|post|body)-file")
_KEEPS_NAME = lazy_regex("-[a-zA-Z]*O")  # of fetched files


class FileAccess:
    """Follows the files of one script.

    Attributes:
        lines: the lines of the script; those of its files are added.
        folder: the folder that `cd` led to; empty for the first.
        read: the files that were read.
        fetched: the files and folders fetched from another machine, each with its source addresses,
            if they are few and known.
    """

    __slots__ = "fetched", "folder", "lines", "read"

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.folder = ""
        self.read: list[str] = []
        self.fetched: list[tuple[str, str]] = []

    def resolve(self, path: str) -> str:
        """A path without detours, resolved from the script's current folder."""
        path = path.removeprefix("file://")
        if self.folder and not _ABSOLUTE.match(path):
            path = f"{self.folder}/{path}"
        return tidy_path(path)

    def redirect(self, command: shell_command.ShellCommand) -> str:
        """Follow a command's redirects; return them as in its line."""
        shown = ""
        is_storing = bool(command.words) and program_name(command.words[0]) in lists.STORES_OUTPUT
        for operator, target in command.redirects:
            if operator == "=":  # what a variable is set to
                self.lines.append(f"= {fill_blanks(target)}")
                continue
            path = self.resolve(target)
            if ">" not in operator:
                self._read(path)
            elif is_storing:
                self._fetch(path, _addresses(command.words))
            else:
                self.lines.append(f"> {path}")
            shown += f" {operator[-1]} {fill_blanks(path)}"
        return shown

    def follow(self, name: str, words: list[str]) -> None:
        """Follow the files among a command's arguments."""
        arguments = words[1:]
        if name in lists.TELL_ENVIRONMENT and arguments in ([], ["-p"], ["-x"], ["-0"]):
            self._read("ENV")
        files = [*programs.find_files(name, arguments)]
        moved = (files[:-1] or files) if name in lists.MOVES else []
        self.lines += [f"OFF {self.resolve(file)}" for file in moved]
        is_editing = name == "sed" and any(word.startswith("-i") for word in arguments)
        if name in ("tee", "truncate") or is_editing:
            self.lines += [f"> {self.resolve(file)}" for file in files[:MAX_WRITTEN]]
        elif name in lists.LAST_IS_TARGET and len(files) > 1:
            self.lines += [f"> {path}" for path in self._targets(files)]
            files = files[:-1]
        if name == "git" and "clone" in files[:3]:
            self._clone(files[files.index("clone") + 1 :])
        elif name == "dd":
            self._copy_blocks(files)
        elif name in lists.FETCHERS:
            self._transfer(name, words)
        elif name in lists.READERS or name in lists.PATTERN_FIRST:
            for file in files[name in lists.PATTERN_FIRST : MAX_OPERANDS]:
                self._read(self.resolve(file))

    def run(self, name: str, words: list[str]) -> None:
        """Add a line if a command runs a fetched file."""
        program = words[0]
        if name in lists.SHELLS or name in ("source", ".") or programs.INTERPRETERS.match(name):
            program = next((word for word in words[1:] if not word.startswith("-")), "")
        if "/" in program or name != program.lower() or name.endswith((".sh", ".py", ".bin")):
            path = self.resolve(program)
            sources = [
                addresses
                for fetched, addresses in self.fetched
                if path == fetched or path.startswith(fetched + "/")
            ]
            if sources:
                is_known = all(sources) and len(sources) <= FEW_ADDRESSES
                shown = sources if is_known else []
                self.lines.append(" ".join([f"RUN {path}", *shown]))

    def _targets(self, files: list[str]) -> Iterator[str]:
        """Find the targets of `cp` and the like: a file, or files of the same names in a folder."""
        target = files[-1]
        yield self.resolve(target)
        if target.endswith("/"):
            for file in files[:-1][:MAX_WRITTEN]:
                yield self.resolve(target + file.rstrip("/").rpartition("/")[2])

    def _clone(self, operands: list[str]) -> None:
        """Follow `git clone`, into a folder of its own or of the repository's name."""
        folder = operands[-1] if operands else "?"
        if "://" in folder or "@" in folder:
            folder = folder.rstrip("/").rpartition("/")[2].removesuffix(".git")
        self.fetched.append((self.resolve(folder), ""))

    def _copy_blocks(self, operands: list[str]) -> None:
        """Follow the files of `dd`."""
        for option, _, path in (operand.partition("=") for operand in operands):
            if option == "of":
                self.lines.append(f"> {path}")
            elif option == "if":
                self._read(path)

    def _transfer(self, name: str, words: list[str]) -> None:
        """Follow the files that `curl` and the like fetch and send."""
        keeps_name = name == "wget" or any(map(_KEEPS_NAME.fullmatch, words))
        addresses = _addresses(words)
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word in ("-o", "--output", "-O", "--output-document") and following:
                if not (name == "curl" and word == "-O") and following != "-":
                    self._fetch(self.resolve(following), addresses)
            elif keeps_name and _WEB_ADDRESS.match(word):
                file = re.split(r"[?#]", word)[0].rpartition("/")[2]
                self.fetched.append((self.resolve(file), addresses))
            elif output := _OUTPUT_OPTION.fullmatch(word):
                target = output[1] or output[2] or output[3] or following
                if target not in ("", "-"):
                    self._fetch(self.resolve(target), addresses)
            else:
                self._send(word, following)

    def _send(self, word: str, following: str) -> None:
        """Follow a file that `curl` or the like sends because of a word."""
        if _UPLOAD_OPTION.fullmatch(word):
            self._read(self.resolve(following))
        elif sent := programs.FILE_OPTION.match(word) or programs.FILE_VALUE.match(word):
            self._read(self.resolve(sent[1]))
        elif address := _FILE_ADDRESS.match(word):
            self._read(self.resolve("/" + address[1].lstrip("/")))

    def _fetch(self, path: str, addresses: str) -> None:
        self.fetched.append((path, addresses))
        self.lines.append(f"> {path}")

    def _read(self, path: str) -> None:
        if len(self.read) < MAX_READ:
            self.read.append(path)
            self.lines.append(f"< {path}")


def _addresses(words: list[str]) -> str:
    """Every address that a command fetches; empty if there are many, or one is a variable."""
    found = [fill_blanks(word) for word in words if _WEB_ADDRESS.match(word)]
    is_known = len(found) <= FEW_ADDRESSES and not any("$" in word for word in words)
    return " ".join(found) if is_known and all(len(each) < ADDRESS_CHARS for each in found) else ""
