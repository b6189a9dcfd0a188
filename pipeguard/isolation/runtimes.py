"""The files that a server's program needs to run: its interpreter, its libraries, its own code.

Found without running anything: the program on the PATH, the interpreter in its first line, the
project that contains a script, the environment that a Python belongs to.
"""

import os
from collections.abc import Iterator, Sequence
from os.path import abspath, basename, dirname, exists, isdir, isfile, join, realpath
from typing import NamedTuple

from pipeguard.detect.words import word_set
from pipeguard.errors import LaunchError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.identity.launch import Form, Launch, parse
from pipeguard.identity.launchers import FOLDERS, STARTERS
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sensitive import PATHS, is_in_any, is_inside, overlaps, read_start
from pipeguard.isolation.view import SYSTEM, SandboxUser, Variables
from pipeguard.launch.command import Command

MOST_LINKS = 6  # of a first line that names a script with a first line
FIRST_LINE_BYTES = 256  # the kernel reads no more either (binfmt_script(5))
MAX_SETTINGS_BYTES = 65_536  # of a Python environment
_PYTHON = lazy_regex(r"(?:python|pypy)[\d.]*")
# Interpreter options that load code before the script.
_LOADING = word_set(
    "-r --require --import --loader --experimental-loader -cp -classpath --class-path -p"
    " --module-path"
)
# Never granted by an argument: folders of other users, and the machine's settings and data.
_OF_OTHERS = ("/", "/opt", "/srv", "/var", "/home", "/Users", "/mnt", "/media")
_OF_MACHINE = ("/etc", "/boot", "/proc", "/sys", "/dev", "/run", "/var/lib", "/var/spool", "/snap")
# Interpreters, whose first argument is the program; some run a folder's program: `node FOLDER`.
_RUN_FOLDERS = {"node", "python", "deno", "bun"}
_INTERPRETERS = _RUN_FOLDERS | word_set(
    "sh bash dash ash zsh ksh fish dotnet java ruby perl php lua Rscript tsx ts-node osascript"
)


class Runtime(NamedTuple):
    """A server's program.

    Attributes:
        path: of the program that is executed.
        needed: files and folders that it reads, besides the system's.
    """

    path: str
    needed: tuple[str, ...]


def starting_folder(command: Command) -> str:
    """The working directory of a command.

    Raises:
        LaunchError: it is ours, and was removed.
    """
    try:
        return abspath(command.cwd or os.getcwd())
    except FileNotFoundError:
        raise LaunchError(
            "the current folder was removed. Start in another one, or give one with --cwd."
        ) from None


def find_runtime(argv: Sequence[str], env: Variables, folder: str, host: SandboxUser) -> Runtime:
    """The files that a command needs.

    Args:
        argv: the command.
        env: of the server; its PATH names programs.
        folder: its working directory.
        host: this machine and its user.

    Raises:
        LaunchError: its program does not exist or cannot be run.
    """
    path = _program(argv[0], env, folder)
    needed = [*_of_program(path, env, folder, host, MOST_LINKS)]
    needed += _of_arguments(basename(path), argv[1:], folder, host)
    return _runtime(path, needed)


def runtime_of_package(
    name: str,
    argv: Sequence[str],
    given: Sequence[str],
    *,
    env: Variables,
    folder: str,
    host: SandboxUser,
) -> Runtime:
    """The files that the program of a fetched package needs.

    The package's author chose its programs' names, first lines, links and `.pth` files, and could
    use them to obtain other files. So only the name of an interpreter counts, which is looked up on
    the PATH, and for its arguments the paths that the user's own command names.

    Args:
        name: the program or package, as the user wrote it.
        argv: the command.
        given: the package's folder, and the files its interpreter needs.
        env: the server's environment.
        folder: the server's working directory.
        host: this machine and its user.

    Raises:
        LaunchError: its program cannot be run.
    """
    path = _program(argv[0], env, folder)
    needed = [*given, *_of_arguments(name, argv[1:], folder, host)]
    word = _interpreter_word(realpath(path)) or ""
    is_known = word in _INTERPRETERS or _PYTHON.fullmatch(word)
    found = _on_path(word, env) if is_known else None
    if found:
        needed += _of_program(abspath(found), env, folder, host, MOST_LINKS)
    return _runtime(path, needed)


def _runtime(path: str, needed: Sequence[str]) -> Runtime:
    return Runtime(
        path, tuple(dict.fromkeys(each for each in needed if not is_in_any(each, SYSTEM)))
    )


def folders_among(
    words: Sequence[str], folder: str, host: SandboxUser, changeable: Sequence[str] = ()
) -> tuple[str, ...]:
    """The folders that a command's arguments name, also as `--root=DIR`, and thereby grant.

    Never the home, a folder with other users' or the system's files, or one that must be granted by
    name: an argument may mean something other than a folder to be changed.

    Args:
        words: the arguments.
        folder: the base of relative paths.
        host: this machine and its user.
        changeable: folders that the server may change: a link that leads out of one may be the
            server's own, and grants nothing.
    """
    return tuple(filter(isdir, paths_among(words, folder, host, changeable)))


def paths_among(
    words: Sequence[str], folder: str, host: SandboxUser, changeable: Sequence[str] = ()
) -> Iterator[str]:
    """The folders and files that a command's arguments name, as for `folders_among`."""
    named: dict[str, str] = {}
    for word in words:
        text = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if text.startswith("-") or "/" not in text:
            continue
        as_written = abspath(join(folder, text))
        path = realpath(as_written)
        if exists(path) and may_be_meant(path, host):
            named.setdefault(path, as_written)
    writable = (*changeable, *filter(isdir, named))
    for path, written in named.items():
        if not any(leaves(each, written, path) for each in writable):
            yield path


def read_alone(among: Sequence[str], profile: Profile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split folders among arguments into changeable ones and read-only paths inside them.

    An argument counts less than a person's explicit grant to read a folder.

    Args:
        among: folders that the arguments name.
        profile: the explicit grants.
    """
    changed = tuple(
        path for path in among if path in profile.write or not is_in_any(path, profile.read)
    )
    held = (
        each
        for each in profile.read
        if is_in_any(each, changed) and not is_in_any(each, profile.write)
    )
    return changed, tuple(held)


def leaves(folder: str, written: str, path: str) -> bool:
    """True if a path goes through a folder and leaves it by a link."""
    if is_inside(path, folder):
        return False
    above = written
    while (above := dirname(above)) != "/":
        if is_inside(realpath(above), folder):
            return True
    return False


def may_be_meant(path: str, host: SandboxUser) -> bool:
    """True if an argument grants this folder."""
    if path in _OF_OTHERS or is_inside(host.home, path) or is_in_any(path, SYSTEM):
        return False
    if is_in_any(path, (*_OF_MACHINE, *host.sensitive)):
        return False
    is_home = dirname(path) in ("/home", "/Users") or path == "/root"
    return not is_home or is_inside(path, host.home)


def _program(program: str, env: Variables, folder: str) -> str:
    path = abspath(join(folder, program)) if "/" in program else _on_path(program, env)
    if path is None:
        raise LaunchError(f"{program}: command not found in the server's PATH.", 127)
    if not isfile(path):
        what = "it is a directory, not a program" * isdir(path) or "there is no such file"
        raise LaunchError(f"{program}: {what}.", 127)
    if not os.access(path, os.X_OK):
        raise LaunchError(f"{path}: it is not executable.", 126)
    return path


def _on_path(program: str, env: Variables) -> str | None:
    """The first executable file of this name on the PATH."""
    folders = env.get("PATH", os.defpath).split(os.pathsep)
    paths = (join(folder, program) for folder in folders)
    return next((path for path in paths if isfile(path) and os.access(path, os.X_OK)), None)


def _of_program(
    path: str, env: Variables, folder: str, host: SandboxUser, links: int
) -> Iterator[str]:
    """The files that an executable needs: its own folder, its interpreter, its environment."""
    real = realpath(path)
    yield path
    yield from _prefix(real, host)
    yield from _python_environment(path, host)
    if real != path:
        yield from _python_environment(real, host)
    interpreter = _interpreter(real, env, folder)
    if interpreter and links:
        if not exists(join(dirname(real), "..", "pyvenv.cfg")):
            yield _project(real, host)
        yield from _of_program(interpreter, env, folder, host, links - 1)


def _interpreter(path: str, env: Variables, folder: str) -> str | None:
    """The interpreter in a script's first line; None for a binary."""
    word = _interpreter_word(path)
    found = word if word is None or "/" in word else _on_path(word, env)
    return None if found is None else abspath(join(folder, found))


def _interpreter_word(path: str) -> str | None:
    """The interpreter as a script's first line names it."""
    # If it is not readable for us, executing it will fail.
    first = (read_start(path, FIRST_LINE_BYTES) or b"").partition(b"\n")[0]
    words = first[2:].decode("utf-8", "replace").split() if first[:2] == b"#!" else []
    if words and basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else None


def _prefix(path: str, host: SandboxUser) -> Iterator[str]:
    """The installation that contains a program: the parent of its `bin`, or else its folder."""
    holder = dirname(path)
    if basename(holder) in ("bin", "Scripts", "shims"):
        holder = dirname(holder)
    yield holder if _may_be_given(holder, host) else path


def _python_environment(path: str, host: SandboxUser) -> Iterator[str]:
    """A virtual environment, its base installation, and the targets of its links."""
    root = dirname(dirname(path))
    settings = read_start(join(root, "pyvenv.cfg"), MAX_SETTINGS_BYTES)
    if settings is None:
        return
    yield root
    for line in settings.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home":
            base = realpath(join(value.strip(), "python3"))
            yield from _prefix(base, host)
            yield from _prefix(join(value.strip(), "python3"), host)
    yield from _linked_folders(root, host)


def _linked_folders(environment: str, host: SandboxUser) -> Iterator[str]:
    """Folders that a Python environment is told to import from (docs.python.org, site: .pth)."""
    from pathlib import Path

    for file in Path(environment).glob("lib/*/site-packages/*.pth"):
        for line in file.read_text("utf-8", "replace").splitlines():
            if line.startswith("/") and isdir(line) and _may_be_given(line, host):
                yield realpath(line)


def _read_line(program: str, words: Sequence[str], folder: str) -> Launch | None:
    """The command line of an interpreter or of uv; None for other programs."""
    name = "python" if _PYTHON.fullmatch(program) else program
    if name not in _INTERPRETERS | {"uv"}:
        return None
    return parse((name if name in STARTERS else "sh", *words), folder)


def with_paths(argv: Sequence[str], folder: str) -> tuple[str, ...]:
    """A command's arguments, with names of files and folders turned into paths such as `./notes`.

    Only after the script that an interpreter or `uv run` runs: before it, such a name is a command
    or a module.

    Args:
        argv: the program and its arguments.
        folder: the working directory.
    """
    program, *words = argv
    own = len(words)
    if launch := _read_line(basename(program), words, folder):
        starter = launch.starters[0]
        own = len(starter.rest or ("", *launch.rest)) - 1
        own = 0 if starter.program == "uv" and not starter.verbs else own
    first = len(words) - own
    return (*words[:first], *(_with_path(word, folder) for word in words[first:]))


def _with_path(word: str, folder: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    is_name = value and "/" not in value and not value.startswith("-")
    if is_name and exists(join(folder, value)):
        return f"{option}{equals}./{value}"
    return word


def _of_arguments(name: str, words: Sequence[str], folder: str, host: SandboxUser) -> Iterator[str]:
    """The script among an interpreter's arguments, with its project."""
    if name == "java":
        yield from (f"/etc/{each}" for each in os.listdir("/etc") if each.startswith("java-"))
    if (launch := _read_line(name, words, folder)) is None:
        return  # its arguments are not programs: `paths_among`
    starter = launch.starters[0]
    for option, value in starter.options:
        if option in FOLDERS.get(starter.program, ()):  # the folder it runs in
            yield from _code(value or "", folder, host, may_be_folder=True)
    if starter.program == "uv":
        return
    loading = (value for option, value in starter.options if value and option in _LOADING)
    for each in (path for value in loading for path in value.split(":")):
        yield from _code(each, folder, host, may_be_folder=True)
    if launch.form is Form.MODULE and _may_be_given(folder, host):
        yield folder  # Python's first place to look
    # A script may have the name of a starter: `node ./mcp`.
    script = launch.starters[1].word if len(launch.starters) > 1 else ""
    if script or launch.form in {Form.WORD, Form.SCRIPT}:
        place = folder if script else launch.folder
        is_run = starter.program in _RUN_FOLDERS
        yield from _code(script or launch.word, place, host, may_be_folder=is_run)


def _code(word: str, folder: str, host: SandboxUser, *, may_be_folder: bool) -> Iterator[str]:
    path = abspath(join(folder, word))
    real = realpath(path)
    if isfile(real):
        yield path
        yield _project(real, host)
    elif may_be_folder and isdir(real) and _may_be_given(real, host):
        yield real


def _project(path: str, host: SandboxUser) -> str:
    """The nearest folder around a script that looks like a project; else its folder; else it."""
    before, modules, _ = path.partition("/node_modules/")
    if modules and _may_be_given(before + "/node_modules", host):
        return before + "/node_modules"
    own = holder = dirname(path)
    while _may_be_given(holder, host):
        if any(exists(join(holder, marker)) for marker in PATHS.PROJECT_MARKERS):
            return holder
        holder = dirname(holder)
    return own if _may_be_given(own, host) else path


def _may_be_given(folder: str, host: SandboxUser) -> bool:
    """True if a whole folder may be granted because a program is in it."""
    real = realpath(folder)
    if real in (*_OF_OTHERS, "/tmp", "/etc"):  # noqa: S108  refused
        return False
    if real == join(host.home, ".local") or is_inside(host.home, real):
        return False
    return not overlaps(real, host.sensitive)
