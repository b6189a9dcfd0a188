"""`pipeguard serve`: many guarded servers behind one endpoint."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _sources, wrap
from pipeguard.cli._emit import choice, flag, value_option
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PipeGuardError
from pipeguard.launch.environment import STORE_VARIABLE
from pipeguard.log import make_say, say
from pipeguard.state.shared import SECRET_VARIABLE

if TYPE_CHECKING:
    from pipeguard.gateway.serving import ServeOptions
    from pipeguard.gateway.sources import Sources

# Options of `wrap` that mean the same here.
FROM_WRAP = (
    *("--listen", "--token-env", "--token-file", "--allow-host", "--allow-origin"),
    *("--max-sessions", "--idle-timeout", "--tls-cert", "--tls-key"),
    *("--policy", "--record", "--log-level", "--log-format", "--grace"),
)
MODES = ("search", "direct", "auto")
PAGE = "/ui"


@click.command(
    epilog="""\b
Examples:
  pipeguard serve --import claude-code
  pipeguard serve --import ~/.cursor/mcp.json --listen 127.0.0.1:8080
  pipeguard serve --config pipeguard.yaml --mode direct
  pipeguard serve --folder servers/ --check

The exit code is 0 at the end; 1 if the address is in use; 2 for a wrong option, file or policy, 3
if the scan engine is missing, 4 if the store cannot be used."""
)
@_sources.source_options
@choice(
    "--mode",
    MODES,
    "How agents get to the tools: search (default) shows a few that find and call all others,"
    " direct lists all of them, auto lists them while they are few.",
)
@value_option(
    "--store",
    "URL",
    "Share pins, tokens, audit and flows with other replicas, in PostgreSQL 14 or newer:"
    " postgresql://user@host/database. PGPASSWORD or a passfile has its password.",
    envvar=STORE_VARIABLE,
)
@value_option(
    "--secret-file",
    "FILE",
    "Keys for --store, of 32 random bytes in base64, one a line: the first one seals, all open."
    " Only you may be able to read FILE.",
    envvar=SECRET_VARIABLE,
)
@value_option(
    "--drain",
    "SECONDS",
    "After SIGTERM, continue to accept requests for this long, while /readyz tells balancers to"
    " send no more (5).",
)
@flag("--read-only", "Refuse every tool that may change something, and proposals of servers.")
@flag("--no-management", "Do not let agents propose servers, whatever the file says (management).")
@flag(
    "--check",
    "Check the files and options, list the servers, and start nothing. A server that would"
    " not start is a note, because serve continues without it.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    sources: Sources,
    mode: str | None,
    *,
    store: str | None,
    secret_file: str | None,
    check: bool,
    **given: object,
) -> None:
    """Guard many MCP servers, and serve them as one whose tools an agent finds by search.

    Each server is judged as `pipeguard wrap` judges it. New and changed tools are neither found nor
    called before you approve them: pipeguard approve SERVER --all. That holds for prompts and
    resources, too, and for what `wrap` trusted at first sight. An entry with `trust: first-use`
    trusts what is new and scans clean; what changes waits there, too.

    Speaks MCP over stdin and stdout; with --listen, over Streamable HTTP, HTTP+SSE and WebSocket at
    /mcp and /sse, and each server alone at /servers/NAME/mcp. On this machine it also has the page
    on which you decide (pipeguard ui), at /ui. Edits of the file take effect at once; a wrong one
    changes nothing. To install it as a service: docs/serve.md, "As a service".

    With `identity` in the file, people sign in at an OpenID Connect issuer: a JWT may do what any
    entry of its groups allows, each entry with its own rate. Then everyone over HTTP needs a JWT or
    a token.
    """
    from pipeguard.gateway.menu import ToolMode
    from pipeguard.gateway.serving import ServeOptions
    from pipeguard.state.store import share_store

    share_store(store, secret_file)
    chosen = None if mode is None else ToolMode(mode)
    is_read_only = bool(given["read_only"])
    may_manage = not (is_read_only or given["no_management"])
    options = ServeOptions(sources, chosen, _wrap_options(given), may_manage, is_read_only)
    if check:
        _show(options)
        return
    ctx.exit(_serve(options))


def _wrap_options(given: dict[str, object]) -> WrapOptions:
    values: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name in (*FROM_WRAP, "--drain"):
        value = given[name.removeprefix("--").replace("-", "_")]
        if isinstance(value, tuple) and value:
            lists[name] = value
        elif isinstance(value, str):
            values[name] = value
    options = WrapOptions((), values, lists, [])
    wrong = options.find_misplaced()
    if wrong is not None:
        raise click.UsageError(wrong)
    return options


def _show(options: ServeOptions) -> None:
    from pipeguard.clients.masking import masked_url, masked_words
    from pipeguard.gateway.serving import check
    from pipeguard.unicode.display import visible_lines

    file = check(options)
    for note in file.notes:
        click.echo(visible_lines(note), err=True)
    for server in file.servers:
        words = " ".join(masked_words(server.command))
        click.echo(visible_lines(f"{server.name}: {words or masked_url(server.url)}"))
    count = len(file.servers)
    address = options.wrap.values.get("--listen")
    where = "over stdio" if address is None else f"at {address}"
    servers = f"{count} server{'s' * (count != 1)}"
    click.echo(f"{servers}, in mode {file.mode} {where}; nothing was started.", err=True)


def _serve(options: ServeOptions) -> int:
    from pipeguard.gateway.serving import serve
    from pipeguard.runtime.declining import decline
    from pipeguard.runtime.start import keep_stdout_for_frames, mark_guard

    make_say(options.wrap.values.get("--log-format"))
    if "--listen" in options.wrap.values:
        from pipeguard.cli._page_host import PageHost
        from pipeguard.launch.person import Person

        page = PageHost(Person.find(), PAGE)  # before the guard leaves its terminal
        mark_guard(listens=True)
        return serve(options, None, page)
    mark_guard(listens=False)
    if sys.stdin.isatty():
        say("waiting for a client on standard input; --listen HOST:PORT is for clients over HTTP.")
    client_fd = keep_stdout_for_frames()
    try:
        return serve(options, client_fd)
    except PipeGuardError as error:
        decline(error, client_fd)
        raise


wrap.add_options(command, FROM_WRAP)
