"""Packages that a command fetches before it runs them: `npx`, `uvx`, `pipx run` and the like.

A server that may reach its registry and write to its package cache could carry data out through the
one and change other servers' programs through the other. So a package is fetched once, in a sandbox
that has the registry, an empty folder and nothing of the server's. From then on the server runs
from that folder, which it can read and not change, without the registry.
"""

import re
from collections.abc import Iterator, Sequence
from os.path import exists, isfile, join, realpath
from typing import NamedTuple

from pipeguard.detect.words import word_set
from pipeguard.errors import LaunchError
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.identity.launch import Starter, parse
from pipeguard.identity.launchers import PACKAGES
from pipeguard.isolation.sensitive import is_inside

NPM, PYPI = "npm", "pypi"
NPM_HOSTS = ("registry.npmjs.org",)
PYPI_HOSTS = ("pypi.org", "files.pythonhosted.org")
IDENTITY_DIGITS = 24
MAX_FACTS_BYTES = 4 * 1024 * 1024

# From the documentation of npm exec, of uv tool run and of pipx: options without a value, and
# those with one that changes nothing here.
_FLAGS = {
    "npx": word_set("-y --yes -q --quiet --prefer-offline --prefer-online --offline"),
    "uvx": word_set(
        "-q --quiet -v --verbose --no-progress --refresh -n --no-cache --isolated --native-tls"
        " --offline --no-config --prerelease=allow -U"
    ),
    "pipx": word_set("--verbose -v -q --quiet --no-cache --pypackages"),
}
_PYTHONS = ("-p", "--python")  # of uvx and pipx
_RUNNERS = {
    ("npx",): "npx",
    ("npm", "exec"): "npx",
    ("npm", "x"): "npx",
    ("uvx",): "uvx",
    ("uv", "tool", "run"): "uvx",
    ("pipx", "run"): "pipx",
}
# Options of `uv run` by which it fetches packages at each start.
_UV_RUN_FETCHES = ("--with", "-w", "--with-requirements", "--with-editable")
_NPM_NAME = lazy_regex(r"(?:@[a-z0-9~*!.'()-][\w~.-]*/)?[a-z0-9~-][\w~.-]*", re.IGNORECASE)
_NPM_SPEC = lazy_regex(rf"{_NPM_NAME.pattern}(?:@[\w.^~<>=| *+-]*)?", re.IGNORECASE | re.ASCII)
_PYPI_NAME = lazy_regex(r"[a-z0-9](?:[\w.-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)
_PYPI_SPEC = lazy_regex(
    rf"{_PYPI_NAME.pattern}(?:\[[\w.,-]*\])?[\w.<>=!~, *+-]*", re.IGNORECASE | re.ASCII
)
_PROGRAM = re.compile(r"\w[\w.+@-]{0,99}", re.ASCII)  # of a package's own choice: no path


class Package(NamedTuple):
    """The package that a command fetches and then runs.

    Attributes:
        registry: NPM or PYPI.
        specs: the packages to install; the first has the program.
        program: its name; empty if the first package determines it.
        arguments: of the program.
        python: the requested version or interpreter, or empty.
    """

    registry: str
    specs: tuple[str, ...]
    program: str
    arguments: tuple[str, ...]
    python: str = ""

    @property
    def name(self) -> str:
        """The first package's."""
        return package_name(self.registry, self.specs[0])

    @property
    def key(self) -> str:
        """The package whose program runs, as `REGISTRY:NAME`."""
        return f"{self.registry}:{self.name}"

    @property
    def program_name(self) -> str:
        """The program's name: by default that of the first package."""
        return self.program or self.name

    @property
    def identity(self) -> str:
        """Return the same key for the same packages."""
        from hashlib import sha256

        text = "\n".join((self.registry, self.python, *self.specs))
        return sha256(text.encode()).hexdigest()[:IDENTITY_DIGITS]


def find_package(argv: Sequence[str]) -> Package | None:
    """The package that a command fetches; None if it fetches none.

    Raises:
        LaunchError: it fetches in an unknown way, so it cannot be isolated.
    """
    starter = next(iter(parse(argv).starters), None)
    if not starter:
        return None
    words = (starter.program, *starter.verbs)
    if words in _RUNNERS:
        return _read(" ".join(words), _RUNNERS[words], starter)
    if starter.registry or words == ("pipenv", "run"):
        raise LaunchError(
            f"{' '.join(words)}: a server that it fetches cannot be isolated yet. Use npx or"
            " uvx for it, or install it and name its program."
        )
    option = next((name for name, _ in starter.options if name in _UV_RUN_FETCHES), "")
    if words == ("uv", "run") and option:  # it would wait for its registry at each start
        raise LaunchError(
            f"uv run {option}: what it fetches at each start an isolated server cannot fetch. Add"
            " it to the project (`uv add`), and leave the option out."
        )
    return None


def find_program(folder: str, package: Package) -> str:
    """The path of the program of an installed package.

    Raises:
        LaunchError: the package has no such program.
    """
    name = package.program_name
    if package.registry == PYPI:
        path = join(folder, "bin", name)
    else:
        name = package.program or _npm_program(folder, name)
        path = join(folder, "node_modules", ".bin", name)
    if not exists(path):
        raise LaunchError(f"{package.specs[0]} has no program {name!r}.", 127)
    return path


def package_name(registry: str, spec: str) -> str:
    """The name in a package specification such as `@scope/name@1.2` or `name[extra]==1.2`."""
    matched = (_NPM_NAME if registry == NPM else _PYPI_NAME).match(spec)
    return matched[0] if matched else spec


def _npm_program(folder: str, name: str) -> str:
    """The program of a package that npx runs: the only one, or the one with the package's name."""
    short = name.rpartition("/")[2]
    file = join(folder, "node_modules", name, "package.json")
    programs = read_facts(folder, file).get("bin")
    if isinstance(programs, dict) and len(programs) == 1:
        only = str(next(iter(programs)))
        return only if _PROGRAM.fullmatch(only) else short
    return short


def read_facts(folder: str, path: str) -> dict[str, object]:
    """Read a JSON file of a package; empty if there is none, or it leads out of the package."""
    real = realpath(path)
    if not is_inside(real, realpath(folder)) or not isfile(real):
        return {}
    import json  # here: few servers have one, and each import delays all

    try:
        with open(real, "rb") as file:
            found = json.loads(file.read(MAX_FACTS_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(shown: str, runner: str, starter: Starter) -> Package:
    specs: list[str] = []
    beside: list[str] = []
    python = ""
    for place, (name, value) in enumerate(starter.options, 1):
        word = name if value is None else f"{name}={value}"
        if name in PACKAGES[starter.program]:
            (beside if name in ("--with", "-w") else specs).append(value or "")
        elif name in _PYTHONS and runner != "npx":
            python = value or ""
        elif word not in _FLAGS[runner] and (name != "--" or place < len(starter.options)):
            raise LaunchError(
                f"{shown} {name}: a server that is fetched with this option cannot be isolated"
                " yet. Leave it out, or install the server and name its program."
            )
    if python.startswith("-"):
        raise LaunchError(f"{shown}: {python!r} is not a version of Python.")
    if not starter.rest:
        raise LaunchError(f"{shown}: it names no server.")
    word, *arguments = starter.rest
    registry = NPM if runner == "npx" else PYPI
    program = word if specs else ""
    if not specs:
        specs = [word if registry == NPM else _pypi_spec(word)]
    specs += ",".join(beside).split(",") if beside else ()
    package = Package(registry, tuple(specs), program, tuple(arguments), python)
    for spec in package.specs:
        _check(shown, registry, spec)
    return package


def _check(shown: str, registry: str, spec: str) -> None:
    """Refuse a spec that does not name a package of the registry.

    Raises:
        LaunchError: it does not.
    """
    if spec.startswith("-") or not spec:
        raise LaunchError(f"{shown}: {spec!r} is not a package.")
    if registry == NPM and not _NPM_SPEC.fullmatch(spec):
        raise LaunchError(f"{shown} {spec}: only packages of the npm registry can be isolated.")
    if registry == PYPI and not _PYPI_SPEC.fullmatch(spec):
        raise LaunchError(f"{shown} {spec}: only packages of PyPI can be isolated yet.")


def _pypi_spec(word: str) -> str:
    """A spec in pip's form: `ruff@1.2` is `ruff==1.2`, and `ruff@latest` is `ruff`."""
    name, at, version = word.partition("@")
    return f"{name}=={version}" if at and version != "latest" else name


def npm_install(folder: str, *specs: str) -> tuple[str, ...]:
    """The npm command that installs packages in a folder, by default those of its package.json."""
    quiet = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
    return ("npm", "install", "--prefix", folder, *quiet, "--", *specs)


def install_commands(package: Package, folder: str) -> Iterator[tuple[str, ...]]:
    """The commands that install a package into an empty folder, with npm, uv or venv and pip."""
    if package.registry == NPM:
        yield npm_install(folder, *package.specs)
        return
    from shutil import which

    if which("uv"):
        version = ("--python", package.python) if package.python else ()
        yield ("uv", "venv", "--quiet", "--allow-existing", *version, folder)
        target = join(folder, "bin", "python")
        yield ("uv", "pip", "install", "--quiet", "--python", target, "--", *package.specs)
        return
    interpreter = package.python or "python3"
    if re.fullmatch(r"\d+(?:\.\d+)?", interpreter):
        interpreter = f"python{interpreter}"
    yield (interpreter, "-m", "venv", folder)
    pip = join(folder, "bin", "pip")
    yield (pip, "install", "--quiet", "--disable-pip-version-check", "--", *package.specs)
