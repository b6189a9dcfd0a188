"""Options that select the servers behind the gateway, or its address. Not a command."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli._emit import value_option
from pipeguard.cli._groups import RefusedError
from pipeguard.errors import InputError
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from pipeguard.gateway.sources import Sources

Command = Callable[..., Any]


def source_options(command: Command) -> Command:
    """Give a command `--config`, `--folder` and `--import`, and pass them as `sources`."""

    @value_option(
        "--config",
        "FILE",
        "Take the servers from FILE (default: pipeguard.yaml in PipeGuard's folder of"
        " settings, wherever your policy is).",
    )
    @value_option("--folder", "DIR", "Each file or folder in DIR is a server, too.")
    @value_option(
        "--import",
        "CLIENT",
        "Take the servers of this client, or of a file with mcpServers, too.",
        "imports",
        multiple=True,
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
    """Give a command `--url` and `--token-env`, and pass them as `url` and `token`."""

    @click.option("--url", default="", help="Of a gateway that listens, to ask it instead.")
    @value_option("--token-env", "NAME", "The variable with a token for --url.")
    @wraps(command)
    def with_url(*arguments: object, url: str, token_env: str | None, **options: object) -> object:
        if token_env and not url:
            raise click.UsageError("--token-env is for --url.")
        token = os.environ.get(token_env, "") if token_env else ""
        if token_env and not token:
            raise RefusedError(f"--token-env {token_env}: there is no such variable.")
        return command(*arguments, url=url, token=token, **options)

    return with_url


def running_gateways() -> list[tuple[str, str]]:
    """List the addresses of the gateways that run here, and their processes."""
    from pipeguard.runtime.start import running_guards

    gateways = []
    for guard in running_guards():
        if guard.verb == "serve" and ":" in guard.address and not guard.address.endswith(":0"):
            is_tls = any(word.startswith("--tls-cert") for word in guard.words)
            address = f"{'https' if is_tls else 'http'}://{visible(guard.address)}"
            gateways.append((address, f"process {guard.process}"))
    return sorted(gateways)


def _sources(config: str | None, folder: str | None, imports: tuple[str, ...]) -> Sources:
    from pipeguard.gateway.discovery import usual_file
    from pipeguard.gateway.sources import Sources

    usual = usual_file()
    file = config or (usual if Path(usual).is_file() else "")
    if not (file or folder or imports):
        raise InputError(
            f"nothing says which servers there are. Write them to {usual}, as\n\n"
            "  servers:\n    memory:\n      command: npx\n"
            '      args: ["-y", "@modelcontextprotocol/server-memory"]\n\n'
            "  or name a client whose servers you want:  pipeguard serve --import claude-code"
        )
    return Sources(file, folder or "", imports)
