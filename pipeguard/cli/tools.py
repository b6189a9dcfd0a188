"""`pipeguard tools`: what agents find behind the gateway, and what it does."""

from __future__ import annotations

import asyncio
import json
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.cli._sources import (
    running_gateways,
    source_options,
    spell_sources,
    url_options,
)
from pipeguard.errors import InputError
from pipeguard.unicode.display import quote, those_there_are, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeguard.firewall.protocol.json_values import JsonObject
    from pipeguard.gateway.catalog import CatalogTool
    from pipeguard.gateway.sources import Inspector, Sources

MOST_FOUND = 50


class _Gateway(NamedTuple):
    """The gateway that is asked.

    Attributes:
        sources: of the servers to start; None to ask one that runs.
        url: its address; or empty.
        token: for it; or empty.
    """

    sources: Sources | None
    url: str
    token: str


def _gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which gateway it asks, and hand it over as `gateway`."""

    @wraps(command)
    def asking(
        *arguments: object, sources: Sources | None, url: str, token: str, **options: object
    ) -> object:
        return command(*arguments, gateway=_Gateway(sources, url, token), **options)

    return url_options(source_options(asking))


@click.group(
    "tools",
    cls=CommandGroup,
    short_help="Find, describe and call the tools behind the gateway.",
)
def command() -> None:
    """Find, describe and call the tools behind `pipeguard serve`, as an agent would.

    The servers that it takes are started for that, and ended again; with --url, a gateway that
    listens is asked, and nothing is started. What is new and waits for approval is not there; a
    tool that has changed is listed as held. A tool is called by its public name
    (memory__read_graph), by server and tool (memory/read_graph), or by the tool's own name where no
    other has it.

    \b
    Examples:
      pipeguard tools search "create an issue"
      pipeguard tools list --server github
      pipeguard tools list --url http://127.0.0.1:8080 --token-env GATEWAY_TOKEN
      pipeguard tools call memory__read_graph
    """  # noqa: D301  click reads the mark


@command.command("search")
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, MOST_FOUND), default=5, help="At most so many (5).")
@click.option("--server", metavar="NAME", help="Only tools of this server.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@_gateway_options
def search(gateway: _Gateway, query: str, limit: int, server: str | None, *, as_json: bool) -> None:
    """Find the tools that QUERY is about, in the order in which an agent gets them.

    \b
    Examples:
      pipeguard tools search "create an issue"
      pipeguard tools search "read a file" --server filesystem --limit 3

    The exit code is 1 if there is none.
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.tool_filter import Filter

    async def work(inspector: Inspector) -> int:
        only = None if server is None else Filter(servers=[_known_server(inspector, server)])
        found = inspector.catalog.search(query, limit, only)
        if as_json:
            rows = [
                {
                    **_fields(tool),
                    "score": round(hit.score, 4),
                    "fit": round(hit.fit, 2),
                    "matched": [
                        {"asked": match.asked, "word": match.word, "field": match.field}
                        for match in hit.why
                    ],
                }
                for tool, hit in found
            ]
            click.echo(json.dumps(rows, indent=2))
        elif found:
            click.echo(visible_lines(menu.results(found)))
        if not found:
            _say_missing(inspector, _only(server))  # the reason first
            which = f"No tool {inspector.callable} matches."
            if inspector.servers:
                click.echo(f"{which} Try other words, or fewer.", err=True)
        return 0 if found else 1

    _run(gateway, work, _only(server))


@command.command("list")
@click.option("--server", metavar="NAME", help="Only tools of this server.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(("table", "json", "yaml")),
    default="table",
    help="How (table).",
)
@_gateway_options
def list_(gateway: _Gateway, server: str | None, output: str) -> None:
    """List the tools of all servers, and why a server has none.

    \b
    Examples:
      pipeguard tools list
      pipeguard tools list --server github -o json
    """  # noqa: D301  click reads the mark

    async def work(inspector: Inspector) -> int:
        if server is not None:
            _known_server(inspector, server)
        tools = [tool for tool in inspector.catalog if server in (None, tool.server)]
        fields = [_fields(tool) for tool in tools]
        if output == "json":
            click.echo(json.dumps(fields, indent=2))
        elif output == "yaml":
            import yaml

            click.echo(yaml.safe_dump(fields, sort_keys=False), nl=False)
        else:
            _print_table(tools)
        _say_missing(inspector, _only(server))
        return 0

    _run(gateway, work, _only(server))


@command.command("describe")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the whole definition.")
@_gateway_options
def describe(gateway: _Gateway, name: str, *, as_json: bool) -> None:
    """Show all that an agent can know of a tool.

    \b
    Examples:
      pipeguard tools describe memory__read_graph
      pipeguard tools describe memory/read_graph
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.sources import as_json as written

    async def work(inspector: Inspector) -> int:
        tool = await _known_tool(inspector, name)
        whole: JsonObject = {**tool.definition, "name": tool.public}
        click.echo(written(whole) if as_json else visible_lines(menu.description(tool)))
        if tool.is_held:
            click.echo(
                f"What changed:  pipeguard diff {quote(f'{tool.server}/{tool.name}')}", err=True
            )
        return 0

    _run(gateway, work, _of_tool(name))


@command.command("call")
@click.argument("name")
@click.argument("arguments", default="{}")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the whole result.")
@_gateway_options
def call(gateway: _Gateway, name: str, arguments: str, *, as_json: bool) -> None:
    """Call a tool with ARGUMENTS, a JSON object. It is judged and audited as an agent's call.

    \b
    Examples:
      pipeguard tools call memory__read_graph
      pipeguard tools call everything__echo '{"message": "hello"}'

    The exit code is 1 if the tool says that it failed, or the call was blocked.
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.sources import as_json as written

    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the arguments are not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise InputError('the arguments are not a JSON object, as {"message": "hello"}.')

    async def work(inspector: Inspector) -> int:
        tool = await _known_tool(inspector, name)
        answer = await inspector.call(tool, given)
        result, error = answer.get("result"), answer.get("error")
        if not isinstance(result, dict):
            message = error.get("message") if isinstance(error, dict) else "it failed"
            raise InputError(str(message))
        click.echo(written(result) if as_json else visible_lines(menu.result_text(result)))
        return 1 if result.get("isError") is True else 0

    _run(gateway, work, _of_tool(name))


def _only(server: str | None) -> Callable[[str], bool]:
    """Find the servers that are needed for the tools of one, or of all."""
    return lambda name: server in (None, name)


def _of_tool(tool: str) -> Callable[[str], bool]:
    """Find the servers that may have a tool, by its name."""
    from pipeguard.gateway.catalog import may_be_tool

    return lambda server: may_be_tool(tool, server)


def _run(
    gateway: _Gateway, work: Callable[[Inspector], Awaitable[int]], only: Callable[[str], bool]
) -> None:
    from pipeguard.gateway.sources import ask_gateway, inspect_tools
    from pipeguard.runtime.loop import new_loop, prepare_threads

    async def inspecting() -> int:
        prepare_threads(asyncio.get_running_loop())
        if gateway.sources is None:
            opened = ask_gateway(gateway.url, gateway.token)
        else:
            opened = inspect_tools(gateway.sources, "error", only)
        async with opened as inspector:
            return await work(inspector)

    if gateway.sources is not None:
        _say_running(gateway.sources)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        raise click.exceptions.Exit(runner.run(inspecting()))


def _say_running(sources: Sources) -> None:
    """Say that a gateway runs, which has started the servers already."""
    from pipeguard.gateway.discovery import usual_file

    is_usual = sources.file == usual_file()
    instead = "add" if is_usual and not (sources.folder or sources.imports) else "say only"
    for url, process in running_gateways(sources.file):
        click.echo(
            f"A gateway runs at {url.partition('://')[2]} ({process}); this starts the servers"
            f" again. To ask it instead, {instead} --url {url}",
            err=True,
        )


def _fields(tool: CatalogTool) -> dict[str, object]:
    return {
        "name": tool.public,
        "server": tool.server,
        "tool": tool.name,
        "effect": tool.effect.value,
        "held": tool.is_held,
        "description": tool.description,
    }


def _print_table(tools: list[CatalogTool]) -> None:
    from pipeguard.gateway.menu import first_sentences

    width = max((len(tool.public) for tool in tools), default=0)
    for tool in tools:
        words = first_sentences(tool.description or tool.title, 80)
        held = "held until you approve its change. " if tool.is_held else ""
        click.echo(visible(f"{tool.public:{width}}  {tool.effect.value:11}  {held}{words}"))


def _say_missing(inspector: Inspector, concerns: Callable[[str], bool]) -> None:
    """Say why servers have no tools here, or not all."""
    if not inspector.servers:
        click.echo(inspector.nowhere, err=True)
    missing = {name: why for name, why in inspector.missing.items() if concerns(name)}
    for name, why in missing.items():
        click.echo(visible_lines(f"{name}: {why}"), err=True)
    if sum(why.endswith(" --all") for why in missing.values()) > 1:
        click.echo("All that waits, as one list:  pipeguard approve --all", err=True)


def _known_server(inspector: Inspector, name: str) -> str:
    if name not in inspector.servers:
        raise InputError(f"there is no server {name}. {those_there_are(inspector.servers)}")
    return name


async def _known_tool(inspector: Inspector, name: str) -> CatalogTool:
    """The tool that a name means.

    Raises:
        InputError: there is none, or there are several.
    """
    from pipeguard.gateway.catalog import tools_named

    catalog = inspector.catalog
    tools = tools_named(catalog, name)
    if not tools and await inspector.start_all():
        tools = tools_named(catalog, name)
    if len(tools) == 1:
        return tools[0]
    if tools:
        names = ", ".join(tool.public for tool in tools)
        raise InputError(f"{name} is the name of several tools: {names}.")
    near = [near.public for near, _ in catalog.search(name, 3)]
    hint = f" Is it one of these: {', '.join(near)}?" if near else ""
    named = [server for server in inspector.servers if _of_tool(name)(server)]
    _say_missing(inspector, named.__contains__ if named else _only(None))
    listing = f"pipeguard tools list{spell_sources()}"
    raise InputError(f"no tool {inspector.callable} is called {name}.{hint}  {listing}")
