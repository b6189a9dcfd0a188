"""Servers in a folder, without a list: each file or folder in it is a server.

A `server.json`, a `server.yaml` or a script's suffix tells how to start it. Starts nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeguard.config.directories import closing_command, config_folder, other_writer, read_own
from pipeguard.errors import InputError, PolicyError
from pipeguard.gateway.servers_file import VARIABLE, ServerSettings, parse_server, parse_servers

ENTRIES = ("server.json", "server.yaml")  # of a folder
ENTRY_ENDINGS = (".json", ".yaml", ".yml")
MOST_SERVERS = 1000
SCRIPTS: Mapping[str, str] = {
    ".py": "python3",
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".sh": "sh",
}
UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")
_INLINE_SCRIPT = re.compile(r"^# /// script\s*$", re.MULTILINE)  # PEP 723


def discovered_servers(folder: Path, variables: Mapping[str, str]) -> list[ServerSettings]:
    """The servers in a folder, in the order of their names.

    Args:
        folder: the folder.
        variables: the values of `${env:NAME}` in entries.

    Raises:
        InputError: there is no such folder.
        PolicyError: other users could have written a file that says how a server is started, or
            there is no such file.
    """
    check_own(folder)
    servers: dict[str, ServerSettings] = {}
    for path in _members(folder):
        server = _read_server(path.absolute(), variables)  # it starts in its own folder
        if server is None:
            continue
        if server.name in servers:
            raise PolicyError(f"{path}: another server in this folder has the name {server.name}")
        servers[server.name] = server
    return list(servers.values())


def watched_files(folder: Path) -> Iterator[str]:
    """The files that decide which servers are discovered."""
    yield str(folder)
    try:
        members = _members(folder)
    except InputError:
        return
    for path in members:
        if path.is_dir():
            yield from (str(path / name) for name in ENTRIES)
        else:
            yield str(path)


def _members(folder: Path) -> list[Path]:
    try:
        members = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or error}.") from None
    if len(members) > MOST_SERVERS:
        raise PolicyError(f"{folder}: it has more than {MOST_SERVERS} files.")
    return members


def _read_server(path: Path, variables: Mapping[str, str]) -> ServerSettings | None:
    """The server of a file or folder; None for another file, such as a README."""
    stem = path.stem if path.is_file() else path.name
    name = UNNAMEABLE.sub("-", stem).strip("-.")[:50] or "server"
    if path.is_dir():
        check_own(path)
        path = _find_start(path)
    if path.suffix in ENTRY_ENDINGS:
        return parse_server(read_own_text(str(path)), str(path), name, variables)
    if path.suffix in SCRIPTS:
        check_own(path)
        words = [SCRIPTS[path.suffix]]
        if path.suffix == ".py" and _INLINE_SCRIPT.search(read_own_text(str(path))):
            words = ["uv", "run", "--script"]
        return ServerSettings(name, (*words, str(path)), cwd=str(path.parent))
    if os.access(path, os.X_OK):
        check_own(path)
        return ServerSettings(name, (str(path),), cwd=str(path.parent))
    return None


def _find_start(folder: Path) -> Path:
    """The file in a folder that tells how its server starts."""
    scripts = (f"{stem}{ending}" for stem in ("server", "index", "main") for ending in SCRIPTS)
    for name in (*ENTRIES, *scripts):
        if (folder / name).is_file():
            return folder / name
    raise PolicyError(
        f"{folder}: PipeGuard cannot tell how to start it: it has neither {' nor '.join(ENTRIES)},"
        " nor a script named server, index or main."
    )


# --- own files --------------------------------------------------------------------------
# Reads files that name programs to start, only if other users cannot have written them.

FILE_NAME = "pipeguard.yaml"
MOST_BYTES = 1024 * 1024


def read_own_text(path: str) -> str:
    """The text of a file that names programs to start.

    Raises:
        InputError: there is no such file.
        PolicyError: other users could have written it, or it is too large, not regular or not text.
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


def describe_mistakes() -> str:
    """List the errors in the usual file, apart from its variables, in one line; empty if none."""
    path = usual_file()
    if not Path(path).exists():
        return ""
    try:
        text = read_own_text(path)
        parse_servers(text, path, dict.fromkeys(VARIABLE.findall(text), "x"))
    except (InputError, PolicyError) as error:
        return " ".join(str(error).split())
    return ""


def check_own(path: Path) -> None:
    """Refuse a file or folder that names programs to start and that other users could have written.

    Raises:
        InputError: there is no such file or folder.
        PolicyError: other users could have written it.
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
