"""Servers in a folder, with nothing written: each file or folder in it is a server.

What starts one is found in this order: `server.json` (the registry's, or a plain entry), then
`package.json`, then `pyproject.toml`, then a script by its ending. Starts nothing.

Sources: the server.json of github.com/modelcontextprotocol/registry (docs/reference), npm's
documentation of package.json, PEP 621 and PEP 723.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipeguard.config.directories import (
    closing_command,
    config_folder,
    other_writer,
    read_own,
)
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.server_settings import ServerSettings, stamp_files
from pipeguard.gateway.servers_file import VARIABLE, parse_server, parse_servers

MANIFESTS = ("server.json", "server.yaml", "package.json", "pyproject.toml")
ENTRY_ENDINGS = (".json", ".yaml", ".yml")
MOST_SERVERS = 1000
SCRIPTS: Mapping[str, tuple[str, ...]] = {
    ".py": ("python3",),
    ".js": ("node",),
    ".mjs": ("node",),
    ".cjs": ("node",),
    ".sh": ("sh",),
}
# How the packages of a registry are started, by their type.
RUNNERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "npm": (("npx", "-y"), "@"),
    "pypi": (("uvx",), "=="),
    "oci": (("docker", "run", "-i", "--rm"), ":"),
}
_UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")
_INLINE_SCRIPT = re.compile(r"^# /// script\s*$", re.MULTILINE)  # PEP 723


def discovered_servers(folder: Path, variables: Mapping[str, str]) -> list[ServerSettings]:
    """The servers in a folder, in the order of their names.

    Args:
        folder: the folder.
        variables: what `${env:NAME}` stands for in entries.

    Raises:
        InputError: there is no such folder.
        PolicyError: others could have written what says how one of them is started, or nothing
            does.
    """
    check_own(folder)
    servers: dict[str, ServerSettings] = {}
    for path in _members(folder):
        server = _read_server(path, variables)
        if server is None:
            continue
        if server.name in servers:
            raise PolicyError(f"{path}: another server in this folder has the name {server.name}")
        servers[server.name] = _with_version(server, path)
    return list(servers.values())


def watched_files(folder: Path) -> Iterator[str]:
    """The files that decide what is discovered."""
    yield str(folder)
    try:
        members = _members(folder)
    except InputError:
        return
    for path in members:
        if path.is_dir():
            yield from (str(path / name) for name in MANIFESTS)
        else:
            yield str(path)


def _with_version(server: ServerSettings, path: Path) -> ServerSettings:
    """A server with the files that describe it, and those of its command that are beside them."""
    described = [path / name for name in MANIFESTS] if path.is_dir() else [path]
    beside = path if path.is_dir() else path.parent
    programs = [Path(word) for word in server.command]
    files = tuple(
        str(file)
        for file in dict.fromkeys((*described, *programs))
        if file.is_file() and file.is_relative_to(beside)
    )
    return replace(server, files=files, version=stamp_files(files))


def _members(folder: Path) -> list[Path]:
    try:
        members = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}.") from None
    if len(members) > MOST_SERVERS:
        raise PolicyError(f"{folder}: it has more than {MOST_SERVERS} files.")
    return members


def _read_server(path: Path, variables: Mapping[str, str]) -> ServerSettings | None:
    """The server of a file or folder; None for a file that is none, as a README."""
    name = (
        _UNNAMED.sub("-", path.stem if path.is_file() else path.name).strip("-.")[:50] or "server"
    )
    if path.is_dir():
        check_own(path)
        return _server_of_folder(name, path, variables)
    if path.suffix in ENTRY_ENDINGS:
        return _server_of_entry(name, path, variables)
    if path.suffix in SCRIPTS:
        return _server_of_script(name, path)
    if os.access(path, os.X_OK):
        check_own(path)
        return ServerSettings(name, (str(path),), cwd=str(path.parent))
    return None


def _server_of_folder(
    name: str, folder: Path, variables: Mapping[str, str]
) -> ServerSettings | None:
    readers: Mapping[str, Callable[[Path], ServerSettings | None]] = {
        "server.json": lambda path: _server_of_entry(name, path, variables),
        "server.yaml": lambda path: _server_of_entry(name, path, variables),
        "package.json": lambda path: _server_of_node(name, path),
        "pyproject.toml": lambda path: _server_of_python(name, path),
    }
    for manifest in MANIFESTS:
        path = folder / manifest
        if path.is_file():
            return readers[manifest](path)
    scripts = [
        folder / f"{stem}{ending}" for stem in ("server", "index", "main") for ending in SCRIPTS
    ]
    for script in scripts:
        if script.is_file():
            return _server_of_script(name, script)
    raise PolicyError(
        f"{folder}: PipeGuard cannot tell how to start it. Add one of {', '.join(MANIFESTS)}, or"
        " a script named server, index or main; begin the folder's name with _ to leave it out."
    )


def _server_of_entry(name: str, path: Path, variables: Mapping[str, str]) -> ServerSettings | None:
    """A server that a file describes: as the registry does, or as `servers:` does."""
    text = read_own_text(str(path))
    if path.suffix == ".json":
        described = _json(path, text)
        if "packages" in described or "remotes" in described:
            return _server_of_registry(name, path, described)
    return parse_server(text, str(path), name, variables)


def _server_of_registry(name: str, path: Path, described: Mapping[str, object]) -> ServerSettings:
    for package in _objects(described.get("packages")):
        runner = RUNNERS.get(str(package.get("registryType")))
        identifier, version = package.get("identifier"), package.get("version")
        if runner is None or not isinstance(identifier, str):
            continue
        words, separator = runner
        pinned = f"{identifier}{separator}{version}" if version else identifier
        arguments = [
            str(argument["value"])
            for argument in _objects(package.get("packageArguments"))
            if argument.get("type") == "positional" and "value" in argument
        ]
        return ServerSettings(name, (*words, pinned, *arguments), cwd=str(path.parent))
    for remote in _objects(described.get("remotes")):
        kind, url = remote.get("type"), remote.get("url")
        if isinstance(url, str):
            transport = str(kind) if kind in ("sse", "streamable-http") else "auto"
            return ServerSettings(name, url=url, transport=transport)
    raise PolicyError(f"{path}: it has no package of {', '.join(RUNNERS)}, and no remote.")


def _server_of_node(name: str, path: Path) -> ServerSettings:
    described = _json(path, read_own_text(str(path)))
    programs = described.get("bin")
    if isinstance(programs, dict):
        programs = next(iter(programs.values()), None)
    program = programs if isinstance(programs, str) else described.get("main")
    if not isinstance(program, str):
        raise PolicyError(f"{path}: it has neither `bin` nor `main`, so nothing to start.")
    return ServerSettings(name, ("node", str(path.parent / program)), cwd=str(path.parent))


def _server_of_python(name: str, path: Path) -> ServerSettings:
    try:
        described = tomllib.loads(read_own_text(str(path)))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path}: {error}.") from None
    project = described.get("project")
    scripts = project.get("scripts") if isinstance(project, dict) else None
    if not isinstance(scripts, dict) or not scripts:
        raise PolicyError(f"{path}: it has no [project.scripts], so nothing to start.")
    script = next(iter(scripts))
    installed = path.parent / ".venv" / ("Scripts" if os.name == "nt" else "bin") / script
    words = (
        (str(installed),)
        if installed.exists()
        else ("uv", "run", "--directory", str(path.parent), script)
    )
    return ServerSettings(name, words, cwd=str(path.parent))


def _server_of_script(name: str, script: Path) -> ServerSettings:
    check_own(script)
    return ServerSettings(name, (*_interpreter(script), str(script)), cwd=str(script.parent))


def _interpreter(script: Path) -> tuple[str, ...]:
    if script.suffix == ".py" and _INLINE_SCRIPT.search(read_own_text(str(script))):
        return ("uv", "run", "--script")
    return SCRIPTS[script.suffix]


def _json(path: Path, text: str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: {error}.") from None
    if not isinstance(value, dict):
        raise PolicyError(f"{path}: it is not an object.")
    return value


def _objects(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# --- own files --------------------------------------------------------------------------
# Reads files that say what to start: only those that nobody else could have written.

FILE_NAME = "pipeguard.yaml"
MOST_BYTES = 1024 * 1024


def read_own_text(path: str) -> str:
    """The text of a file that says what to start.

    Raises:
        InputError: there is no such file.
        PolicyError: others could have written it, it is too large, no regular file, or no text.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file.")
    try:
        return read_own(path, MOST_BYTES, PolicyError).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: it is not in UTF-8.") from None


def usual_file() -> str:
    """The usual place of the gateway's file, which need not exist."""
    return str(Path(config_folder()) / FILE_NAME)


def describe_mistakes(path: str) -> str:
    """Say what is wrong in a servers' file, apart from its variables; empty if nothing is.

    One mistake a line, and the file on the first.
    """
    if not Path(path).exists():
        return ""
    try:
        text = read_own_text(path)
        parse_servers(text, path, dict.fromkeys(VARIABLE.findall(text), "x"))
    except (InputError, PolicyError) as error:
        return str(error)
    return ""


def check_own(path: Path) -> None:
    """Refuse a file or folder that others could have written, and that says what to start.

    Raises:
        InputError: there is no such file or folder.
        PolicyError: others could have written it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    if who := other_writer(status):
        raise PolicyError(
            f"{who} may write to {path}, which says what to start.\n"
            f"  Close it:  {closing_command(str(path), status)}"
        )
