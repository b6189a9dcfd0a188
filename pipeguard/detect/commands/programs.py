"""The words of a command: its program's name, options, operands, and the program that it runs.

Reads words by the tables in detect.words.programs. Does not know which words are harmful.
"""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import chain

from pipeguard.detect.commands.shell_command import GAP, MAX_VALUE
from pipeguard.detect.words import programs as lists
from pipeguard.detect.words import word_set
from pipeguard.firewall.lazy_regex import lazy_regex

# The versions are in their names.
INTERPRETERS = lazy_regex(
    r"(?:python[0-9.]*|pypy3?|perl[0-9.]*|node|nodejs|ruby|php[0-9.]*|deno|bun|lua|awk|gawk"
    r"|osascript)\Z"
)
# The operations of clouds and forges that upload.
UPLOADS = lazy_regex(
    r"s3\S{0,4} (?:cp|mv|sync|rb)|storage (?:cp|blob|fs|rsync)|gist create|release upload"
    r"|secret set|put-object|copy|cp |push"
)
FILE_VALUE = lazy_regex(r"(?:[\w.\[\]-]{0,60}=)?[@<](?!-\Z)([^\s;,]{1,300})")
FILE_OPTION = lazy_regex(
    r"(?:--(?:post|body|upload)-file=|--data(?:-binary|-raw|-urlencode|-ascii)?=@|"
    r"--form=[\w.-]{0,60}=?@|"
    r"-[dFT](?:[\w.-]{0,60}=)?@?(?=[/~.]))@?([^\s;,]{1,300})"
)
# Clients of databases, each with the options that give it a statement.
CLIENTS = {
    name: tuple(options.split(",")) if options else ()
    for name, options in lists.pairs("CLIENTS").items()
}
# Programs that run another: their options of one letter that take a value, and how many words come
# before the other program.
_WRAPPERS = {name: (value[:-2], int(value[-1])) for name, value in lists.pairs("WRAPPERS").items()}
# Programs for which detect.commands.interpret reads more than the name and the arguments.
_TABLES = word_set(
    "SENDERS SHELLS READERS PATTERN_FIRST OPERANDS_LAST LAST_IS_TARGET FETCHERS RUN_IN "
    "TELL_ENVIRONMENT ALSO_INTERPRETED"
)
_INTERPRETED = CLIENTS.keys() | chain.from_iterable(map(lists.in_order, _TABLES))


@lru_cache(1024)
def is_ordinary(word: str) -> bool:
    """True for a word that is not a program in any table."""
    name = program_name(word)
    return not (
        name in _INTERPRETED or INTERPRETERS.match(name) or name.endswith((".sh", ".py", ".bin"))
    )


@lru_cache(4096)
def is_inner(word: str) -> bool:
    """True for a shell or an interpreter, which another program may run."""
    name = program_name(word)
    return name in lists.SHELLS or INTERPRETERS.match(name) is not None


def tidy_path(path: str) -> str:
    """A path without detours, and without an ending such as `/*` that means everything in it."""
    path = fill_blanks(path[:MAX_VALUE])
    if path.startswith("./") and path[2:3] not in ("", "*", ".", "/"):
        path = path[2:]
    if "/" in path:
        path = re.sub(r"/{2,}", "/", path) if "//" in path and "://" not in path else path
        path = (re.sub(r"(?:/\.(?=/|\Z))+", "", path) if "/." in path else path) or "/"
        if "/.." in path:
            path = _without_steps_back(path)
    everything = path.endswith(("*", ".")) and re.fullmatch(
        r"(/|.{1,300}?/)(?:\*|\.\*|\.\[!\.\]\*|\.\?\*|\*\.\*|\{,\.\}\*|\.)", path
    )
    if everything:
        path = everything[1]
    return path.rstrip("/") if len(path) > 1 and path.strip("/") else path


def _without_steps_back(path: str) -> str:
    for _ in range(8):
        shorter = re.sub(r"(\A|/)(?!\.\.?/)[^/~$]{1,80}/\.\.(?:/|\Z)", r"\1", path, count=1)
        if shorter == path:
            break
        path = shorter or "."
    while path.startswith("/../"):
        path = path[3:]
    return "/" if path == "/.." else path


def fill_blanks(word: str) -> str:
    """A word with GAP for each blank, so that it is one word of a line."""
    return word if word.split() == [word] else _SPACE.sub(GAP, word)


_SPACE = lazy_regex(r"\s")
_PROTOCOLS = "HTTP", "HTTPS"  # as in prose and tables; the names of HTTPie are lower case


@lru_cache(1024)  # the same few programs, all day
def program_name(word: str) -> str:
    """The name of a program without its folder, in small letters; unchanged for a protocol."""
    name = word
    if not word.startswith("$(") and word not in _PROTOCOLS:
        name = word.replace("\\", "/").rpartition("/")[2].lower()
    return fill_blanks(name.removesuffix(".exe"))


def match_file(word: str) -> str:
    """The first known file that a pattern for file names fits; the pattern if none does."""
    if not (word.startswith(("/", "~")) and ("?" in word or "[" in word or "*" in word)):
        return word
    if not re.search(r"[?\[]|/[^/*]{0,3}\*[^/*]{1,4}", word) or len(word) > 80:
        return word
    return next((file for file in lists.in_order("FILES") if fnmatchcase(file, word)), word)


def unwrap_command(words: list[str]) -> tuple[list[str], bool]:
    """A command without the programs that only run it; True if its input becomes arguments."""
    takes_arguments = False
    for _ in range(12):
        if not words:
            break
        if "=" in words[0] and _ASSIGNS.match(words[0]):
            words = words[1:]
            continue
        name = program_name(words[0])
        if name not in _WRAPPERS or len(words) == 1:
            break
        valued, first = _WRAPPERS[name]
        if name == "command" and words[1] in ("-v", "-V"):
            break
        takes_arguments = takes_arguments or name in ("xargs", "parallel")
        rest = skip_options(words[1:], valued)
        while (
            name in ("env", "sudo") and rest and "=" in rest[0] and "/" not in rest[0].split("=")[0]
        ):
            rest = rest[1:]
        if name == "env" and not rest:
            break
        if name in ("trap", "watch") and rest and " " in rest[0]:
            words = ["sh", "-c", rest[0]]
            break
        words = rest[first:]
    return words, takes_arguments


_ASSIGNS = lazy_regex(r"[A-Za-z_][A-Za-z0-9_]*=")


def skip_options(words: list[str], valued: str) -> list[str]:
    """The words after the options.

    Args:
        words: a command's arguments.
        valued: options of one letter that take the next word as their value.
    """
    at = 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        option = words[at]
        at += 1
        if option == "--":
            break
        if not option.startswith("--") and option[-1] in valued and len(option) == 2:
            at += 1
    return words[at:]


def find_operands(words: list[str], valued: str) -> list[str]:
    """The words from the first operand on; all of them if each may be an option's."""
    return skip_options(words, valued) or words


def find_files(name: str, words: list[str]) -> Iterator[str]:
    """The operands of a program, without the values of options, such as a key file."""
    valued = lists.pairs("VALUED").get(name, "--exclude").split(",")
    left = iter(words)
    for word in left:
        if word in valued:
            next(left, "")
        elif word and not word.startswith("-"):
            yield word


def find_script(words: list[str]) -> str:
    """The script after a shell's `-c`; empty without one."""
    for at, word in enumerate(words[1:-1], 1):
        if re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*|--command", word):
            return next((script for script in words[at + 1 :] if script != "--"), "")
        if not word.startswith(("-", "+")):
            break
    return ""


def option_values(words: list[str], options: Sequence[str]) -> Iterator[str]:
    """Each value of some options of a command."""
    for at, word in enumerate(words[1:], 1):
        for option in options:
            if word == option and at + 1 < len(words):
                yield words[at + 1]
            elif option.startswith("--") and word.startswith(option + "="):
                yield word.partition("=")[2]
