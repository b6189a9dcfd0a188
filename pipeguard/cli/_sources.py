"""The options that say which servers are behind the gateway, or where it runs. Not a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli._groups import RefusedError
from pipeguard.errors import InputError
from pipeguard.unicode.display import quote, visible

if TYPE_CHECKING:
    from pipeguard.gateway.sources import Sources
    from pipeguard.runtime.start import RunningGuard

Command = Callable[..., Any]
_OF_SOURCES = ("config", "folder", "imports", "url", "token_env")


def source_options(command: Command) -> Command:
    """Give a command `--config`, `--folder` and `--import`, and hand them over as `sources`."""

    @click.option(
        "--config",
        metavar="FILE",
        help="Take the servers from FILE (default: pipeguard.yaml in PipeGuard's folder of"
        " settings, wherever your policy is).",
    )
    @click.option("--folder", metavar="DIR", help="Each file or folder in DIR is a server, too.")
    @click.option(
        "--import",
        "imports",
        metavar="CLIENT",
        multiple=True,
        help="Take the servers of this client, or of a file with mcpServers, too.",
    )
    @wraps(command)
    def with_sources(
        *arguments: object,
        config: str | None,
        folder: str | None,
        imports: tuple[str, ...],
        **options: object,
    ) -> object:
        sources = None  # of a gateway that runs, which has its own
        if not options.get("url"):
            sources = _sources(config, folder, imports)
        elif config or folder or imports:
            raise click.UsageError("--url asks a gateway about its own servers: name no others.")
        return command(*arguments, sources=sources, **options)

    return with_sources


def url_options(command: Command) -> Command:
    """Give a command `--url` and `--token-env`, and hand them over as `url` and `token`."""

    @click.option("--url", default="", help="Of a gateway that listens, to ask it instead.")
    @click.option("--token-env", metavar="NAME", help="The variable with a token for --url.")
    @wraps(command)
    def with_url(*arguments: object, url: str, token_env: str | None, **options: object) -> object:
        token = read_token(url, token_env)
        return command(*arguments, url=url, token=token, **options)

    return with_url


def read_token(url: str | None, token_env: str | None) -> str:
    """The token in a variable; empty if none is named.

    Raises:
        UsageError: there is no address for it.
        RefusedError: there is no such variable.
    """
    if token_env and not url:
        raise click.UsageError("--token-env is for --url.")
    token = os.environ.get(token_env, "") if token_env else ""
    if token_env and not token:
        raise RefusedError(f"--token-env {token_env}: there is no such variable.")
    return token


def running_gateways(file: str = "") -> list[tuple[str, str]]:
    """The addresses of the gateways that run here, and their processes.

    Args:
        file: only of those that take their servers from it; empty for all.
    """
    from pipeguard.assess.gateway_file import serves_file
    from pipeguard.runtime.start import running_guards

    return sorted(
        (f"{_find_scheme(guard)}://{visible(guard.address)}", guard.describe())
        for guard in running_guards()
        if guard.verb == "serve" and ":" in guard.address and not guard.address.endswith(":0")
        if not file or serves_file(guard, Path(file))
    )


def _find_scheme(guard: RunningGuard) -> str:
    return "https" if any(word.startswith("--tls-cert") for word in guard.words) else "http"


def spell_sources() -> str:
    """The options for servers and gateways of the command that runs, to repeat them in a hint."""
    context = click.get_current_context()
    given = (
        f" {option.opts[0]} {quote(value)}"
        for option in context.command.params
        if f"{option.name}" in _OF_SOURCES
        for value in _list_values(context.params.get(f"{option.name}"))
    )
    return "".join(given)


def _list_values(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),) if value else ()


def _sources(config: str | None, folder: str | None, imports: tuple[str, ...]) -> Sources:
    from pipeguard.gateway.discovery import usual_file
    from pipeguard.gateway.sources import Sources

    file = _find_file(config, usual_file(), is_needed=not folder and not imports)
    return Sources(file, folder or "", imports)


def _find_file(config: str | None, usual: str, *, is_needed: bool) -> str:
    """The file of servers; empty where there is none and none is needed.

    Raises:
        InputError: there is none, and nothing else says which servers there are.
    """
    if config is not None:
        return config
    if Path(usual).is_file():
        return usual
    if not is_needed:
        return ""
    running = "".join(
        f"\n  or ask the gateway that runs:  --url {url}  (with --token-env NAME, if it needs one)"
        for url, _ in running_gateways()
    )
    raise InputError(
        f"nothing says which servers there are. Write them to {usual}, as\n\n"
        "  servers:\n    memory:\n      command: npx\n"
        '      args: ["-y", "@modelcontextprotocol/server-memory"]\n\n'
        "  or name a client whose servers you want:  pipeguard serve --import claude-code"
        f"{running}"
    )
