"""A command line, read up to the word that names its program or package: `parse`.

Knows how clients' configurations start servers, and which programs merely start others: `npx`,
`docker run`, `env`, `sh -c`. Other modules use the result: `server_name` names the server,
`isolation.packages` isolates a package, `assess.checks.packages` asks for exact versions.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum

from pipeguard.identity import launchers
from pipeguard.identity.launchers import WORDS
from pipeguard.identity.words import absolute, program_name, source_name

MOST_STARTERS = 20  # of one line; each keeps the words after it


class Form(Enum):
    """The form in which a command line names its program or package."""

    WORD = "word"  # a package, an image, a task, a path, an address, a program
    MODULE = "module"
    SCRIPT = "script"  # of a shell
    CODE = "code"  # for an interpreter
    ELSEWHERE = "elsewhere"  # on another machine, or in a system of its own
    NOTHING = "nothing"


class Starter:
    """A program that starts the program in the rest of its command line.

    Attributes:
        program: its name, as in `launchers`.
        word: as written.
        registry: the registry of the package that it fetches, as `npm`; empty if it fetches none.
        verbs: its subcommands, as `run`.
        options: its own, in their order, with their values; None for an option without one.
        rest: the words after its own.
    """

    def __init__(self, program: str, word: str) -> None:
        self.program = program
        self.word = word
        self.registry = launchers.REGISTRIES.get(program, "")
        self.verbs: list[str] = []
        self.options: list[tuple[str, str | None]] = []
        self.rest: list[str] = []


class Launch:
    """The program or package that a command line launches.

    Attributes:
        starters: the programs that start one another, the first of the line first.
        form: how the server is named.
        word: the word that names it; empty without one.
        rest: the words after it.
        folder: the folder that it starts in.
        in_project: a folder's own files define it.
        sources: packages, repositories and the like that define the program besides the word.
        mounts: folders of a container.
        variables: the names of those that `env` sets.
    """

    def __init__(self, folder: str, *, in_project: bool) -> None:
        self.starters: list[Starter] = []
        self.form = Form.NOTHING
        self.word = ""
        self.rest: list[str] = []
        self.folder = folder
        self.in_project = in_project
        self.sources: list[str] = []
        self.mounts: list[str] = []
        self.variables: list[str] = []


def parse(argv: Sequence[str], folder: str = "/", *, in_project: bool = False) -> Launch:
    """Read a command line.

    Args:
        argv: its words.
        folder: the folder that it starts in.
        in_project: it is part of a line that runs code defined by a folder's own files.
    """
    launch, words = Launch(folder, in_project=in_project), deque(argv)
    while words and launch.form is Form.NOTHING:
        _read(launch, words.popleft(), words)
    launch.rest = list(words)
    if launch.form is Form.WORD and launch.starters:
        starter = launch.starters[-1]
        starter.rest = [launch.word, *launch.rest]
        if starter.program in WORDS.SCRIPTS | WORDS.TARGETS:
            launch.rest = _take_options(launch, starter)
    return launch


def _read(launch: Launch, word: str, words: deque[str]) -> None:
    """Read one word, with the words that belong to it."""
    program = program_name(word)
    starter = launch.starters[-1] if launch.starters else None
    if starter is None and program in WORDS.ELSEWHERE:
        launch.form, launch.word = Form.ELSEWHERE, program
    elif program in launchers.STARTERS and not (starter and _is_no_starter(launch, starter, word)):
        if starter:
            starter.rest = [word, *words]
        _add_starter(launch, Starter(program, word), words)
    elif starter is None:
        launch.form, launch.word = Form.WORD, word
    elif _read_inline(launch, starter.program, word, words):
        return
    elif word.startswith("-") and word not in WORDS.VERBS:
        name, equals, value = word.partition("=")
        option = _read_option(launch, starter, word, words)
        starter.options.append(option or (name, value if equals else None))
    elif _is_verb(launch, starter, word):
        starter.verbs.append(word)
        if registry := launchers.FETCHING.get((starter.program, word)):
            starter.registry, launch.in_project = registry, False
    elif starter.program == "env" and "=" in word:
        launch.variables.append(word.partition("=")[0])
    else:
        launch.form, launch.word = Form.WORD, word


def _is_no_starter(launch: Launch, starter: Starter, word: str) -> bool:
    """True for a package, image, task or script that only shares a starter's name."""
    first, blank, _ = word.partition(" ")
    if blank and starter.program in WORDS.SHELLS_OF_WINDOWS:
        return program_name(first) in launchers.STARTERS
    is_container = starter.program in WORDS.CONTAINERS
    if starter.program in WORDS.TARGETS or (is_container and starter.verbs):
        return True
    if word in WORDS.TARGETS or word == "mcp":
        return is_container or starter.program in WORDS.SCRIPTS
    return len(launch.starters) >= MOST_STARTERS or bool(starter.registry and "/" in word)


def _add_starter(launch: Launch, starter: Starter, words: deque[str]) -> None:
    launch.starters.append(starter)
    launch.in_project |= starter.program in WORDS.PROJECTS
    if starter.registry:
        launch.in_project = False
    if starter.program == "docker-compose":
        starter.verbs.append("compose")
    while starter.program == "timeout" and words:
        word = words.popleft()
        if word in launchers.STARTERS["timeout"]:
            _next(words)
        elif not word.startswith("-"):  # the duration
            return


def _read_inline(launch: Launch, program: str, word: str, words: deque[str]) -> bool:
    """Read a module, a script or code, with the option before it; False for other words."""
    if word in WORDS.MODULES and word not in launchers.STARTERS[program]:
        launch.form, launch.word = Form.MODULE, _next(words, word)
    elif program in WORDS.SHELLS and word[:1] == "-" != word[1:2] and word.endswith("c"):
        launch.form, launch.word = Form.SCRIPT, _next(words)
    elif program in WORDS.SHELLS_OF_WINDOWS and " " in word:
        launch.form, launch.word = Form.SCRIPT, word
    elif word in launchers.CODE.get(program, ()):
        launch.form, launch.word = Form.CODE, _next(words)
    return launch.form is not Form.NOTHING


def _read_option(
    launch: Launch, starter: Starter, word: str, words: deque[str]
) -> tuple[str, str] | None:
    """Read an option and its value; None if the tables list no value for it."""
    name, equals, value = word.partition("=")
    folders = launchers.FOLDERS.get(starter.program, ())
    attached = word[1:2] != "-" and len(word) > 2 and word[:2]
    if attached and (attached in folders or attached in WORDS.MOUNTS):
        name, equals, value = attached, "=", word[2:].removeprefix("=")
    is_composed = "compose" in starter.verbs
    is_folder = name in folders and (starter.program not in WORDS.CONTAINERS or is_composed)
    is_source = name in launchers.SOURCES.get(starter.program, ())
    is_source |= starter.verbs == ["compose"] and name in ("-p", "--project-name")
    tables = (launchers.STARTERS, launchers.PACKAGES)
    is_known = any(name in table.get(starter.program, ()) for table in tables)
    if not (is_folder or is_source or is_known):
        return None
    if not equals:
        value = _next(words)
    if is_folder:
        launch.folder = absolute(value, launch.folder)
    elif name in WORDS.MOUNTS:
        launch.mounts.append(value)
    elif is_source:
        launch.sources.append(source_name(value, launch.folder))
    return name, value


def _is_verb(launch: Launch, starter: Starter, word: str) -> bool:
    if starter.program in WORDS.CONTAINERS:
        if not starter.verbs:
            return True
        return starter.verbs in (["compose"], ["container"]) and word in WORDS.CONTAINER_VERBS
    if starter.program == "nix":
        return not starter.verbs
    if starter.registry:  # the next word is the package, whatever its name
        runs = starter.verbs[-1:] == ["tool"] or (starter.program == "pipx" and not starter.verbs)
        return runs and word == "run"
    return word in WORDS.VERBS or (launch.in_project and word in WORDS.PROJECT_VERBS)


def _take_options(launch: Launch, starter: Starter) -> list[str]:
    """Read the options of a program behind its task, as in `npm run mcp --prefix /srv/a`.

    Returns:
        The words for the task itself.
    """
    end = launch.rest.index("--") if "--" in launch.rest else len(launch.rest)
    remaining, words = [], deque(launch.rest[:end])
    while words:
        word = words.popleft()
        is_own = word.startswith("-") and word != "-p"  # as often a port as a package
        if not (is_own and _read_option(launch, starter, word, words)):
            remaining.append(word)
    return remaining + launch.rest[end + 1 :]


def _next(words: deque[str], missing: str = "") -> str:
    return words.popleft() if words else missing
