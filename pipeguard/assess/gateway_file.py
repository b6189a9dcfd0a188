"""`pipeguard.yaml` as a file with servers, like those of clients: all checks look at it, too.

Its servers are behind `pipeguard serve`, which guards each of them.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from pipeguard.clients.catalog import ConfigScope, FileSpec, Shape
from pipeguard.clients.entries import Config, ServerEntry, read_config
from pipeguard.clients.machine import ConfigFile
from pipeguard.config.directories import config_folder
from pipeguard.errors import PipeGuardError
from pipeguard.identity.server_name import Launched, identify_remote, identify_server
from pipeguard.runtime.start import RunningGuard, running_guards
from pipeguard.state.pins import Store

GATEWAY = "pipeguard-serve"  # in place of a client's id
FILE_NAME = "pipeguard.yaml"
_SPEC = FileSpec(
    client=GATEWAY,
    scope=ConfigScope.USER,
    places={},
    first=True,
    format="yaml",
    allows=frozenset(),
    servers=(("servers",), ("mcpServers",)),
    named="",
    shape=Shape(off={"enabled": False, "disabled": True}),
)


def gateway_configs(*folders: Path, guards: Iterable[RunningGuard] | None = None) -> list[Config]:
    """List the gateway's files, each once: that in the user's policy folder, and others.

    Args:
        folders: other folders to search. The files of running gateways are found anywhere.
        guards: the running guards; None to look for them.
    """
    paths = [folder / FILE_NAME for folder in (Path(config_folder()), *folders)]
    if guards is None:
        guards = running_guards()
    for guard in guards:
        if guard.verb == "serve":
            paths += _named_files(guard.words, Path(f"/proc/{guard.process}/cwd"))
    each_once = {path.resolve(): path for path in reversed(paths) if path.is_file()}
    return [*map(_read_file, reversed(each_once.values()))]


def gateway_config(folder: Path) -> list[Config]:
    """The gateway's file in a folder, if there is one."""
    path = folder / FILE_NAME
    return [_read_file(path)] if path.is_file() else []


def _read_file(path: Path) -> Config:
    return read_config(ConfigFile(path, (_SPEC,)))


def reads_file(words: Sequence[str], folder: Path, server: ServerEntry) -> bool:
    """True if a gateway that was started with these words, in a folder, has a server."""
    paths = _named_files(words, folder)
    return is_of_gateway(server) and (not paths or server.file.resolve() in paths)


def _named_files(words: Sequence[str], folder: Path) -> list[Path]:
    """Return the files that a gateway's command line names, relative to its working directory."""
    named = [word for word in words if word.startswith("--config=")] + [
        f"{word}={value}" for word, value in pairwise(words) if word == "--config"
    ]
    return [(folder / each.partition("=")[2]).resolve() for each in named]


def is_of_gateway(server: ServerEntry) -> bool:
    """True for a server of the gateway, which guards it."""
    return server.client == GATEWAY


def pins_name(store: Store | None, server: ServerEntry) -> str:
    """Return the name that `wrap` uses: that of `--name`, or one made from the command or address.

    Raises:
        StateError: the store cannot be read.
    """
    who = identify_entry(server)
    name = (server.guard.name if server.guard else None) or ""
    if is_of_gateway(server):
        name = server.name
    return (name or who.name) if store is None else store.name_server(name, who, register=False)


def identify_entry(server: ServerEntry) -> Launched:
    """The server that an entry launches, or whose address it has."""
    if server.own_url:
        from pipeguard.runtime.endpoints import identify_upstream

        with suppress(PipeGuardError):  # an address with variables that only its client knows
            return identify_upstream(server.own_url)
        return identify_remote(server.own_url, server.name)
    return identify_server(server.own_words, server.guard.folder if server.guard else None)
