"""`pipeguard tools`: shows the tools that agents find behind the gateway, and what it does."""

from __future__ import annotations

import asyncio
import json
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli._emit import emit, json_option, value_option, wants_json
from pipeguard.cli._groups import group
from pipeguard.cli._sources import source_options, url_options
from pipeguard.errors import InputError
from pipeguard.unicode.display import quote, those_there_are, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pipeguard.gateway.sources import Inspector, Sources
    from pipeguard.gateway.tools import CatalogTool

    Ask = Callable[[Callable[[Inspector], Awaitable[int]], Callable[[str], bool]], None]

MOST_FOUND = 50
_server_option = value_option("--server", "NAME", "Only tools of this server.")


def _gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that select a gateway, and `ask`, which queries it."""

    @wraps(command)
    def asking(
        *arguments: object, sources: Sources | None, url: str, token: str, **options: object
    ) -> object:
        return command(*arguments, ask=partial(_run, sources, url, token), **options)

    return url_options(source_options(asking))


@group("tools", "Find, describe and call the tools behind the gateway.")
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
@_server_option
@json_option
@_gateway_options
def search(ask: Ask, query: str, limit: int, server: str | None) -> None:
    """Find the tools that QUERY is about, in the order in which an agent gets them.

    \b
    Examples:
      pipeguard tools search "create an issue"
      pipeguard tools search "read a file" --server filesystem --limit 3

    The exit code is 1 if there is none.
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.tools import Filter

    async def work(inspector: Inspector) -> int:
        only = None if server is None else Filter(frozenset((_known_server(inspector, server),)))
        found = inspector.catalog.search(query, limit, only)
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
        if not found:
            _say_missing(inspector, _only(server))  # the reason first
        emit(
            rows,
            lambda _: visible_lines(menu.results(found)) if found else "",
            empty="No tool that can be called now matches. Try other words, or fewer.",
        )
        return 0 if found else 1

    ask(work, _only(server))


@command.command("list")
@_server_option
@json_option
@_gateway_options
def list_(ask: Ask, server: str | None) -> None:
    """List the tools of all servers, and why a server has none.

    \b
    Examples:
      pipeguard tools list
      pipeguard tools list --server github --json
    """  # noqa: D301  click reads the mark

    async def work(inspector: Inspector) -> int:
        if server is not None:
            _known_server(inspector, server)
        tools = [tool for tool in inspector.catalog if server in (None, tool.server)]
        emit([_fields(tool) for tool in tools], lambda _: _table(tools))
        _say_missing(inspector, _only(server))
        return 0

    ask(work, _only(server))


@command.command("describe")
@click.argument("name")
@json_option
@_gateway_options
def describe(ask: Ask, name: str) -> None:
    """Show all that an agent can know of a tool; with --json, its whole definition.

    \b
    Examples:
      pipeguard tools describe memory__read_graph
      pipeguard tools describe memory/read_graph
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.sources import as_json as written

    async def work(inspector: Inspector) -> int:
        tool = await _known_tool(inspector, name)
        whole = written({**tool.definition, "name": tool.public})
        click.echo(whole if wants_json() else visible_lines(menu.description(tool)))
        if tool.is_held:
            command = f"pipeguard diff {quote(f'{tool.server}/{tool.name}')}"
            click.echo(f"What changed:  {command}", err=True)
        return 0

    ask(work, _of_tool(name))


@command.command("call")
@click.argument("name")
@click.argument("arguments", default="{}")
@json_option
@_gateway_options
def call(ask: Ask, name: str, arguments: str) -> None:
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
        result = answer.get("result")
        error = answer.get("error")
        if not isinstance(result, dict):
            message = error.get("message") if isinstance(error, dict) else "it failed"
            raise InputError(str(message))
        click.echo(written(result) if wants_json() else visible_lines(menu.result_text(result)))
        return 1 if result.get("isError") is True else 0

    ask(work, _of_tool(name))


def _only(server: str | None) -> Callable[[str], bool]:
    """Return a filter of the servers that are needed for the tools of one, or of all."""
    return lambda name: server in (None, name)


def _of_tool(tool: str) -> Callable[[str], bool]:
    """Return a filter of the servers that may have a tool, by its name."""
    from pipeguard.gateway.catalog import may_be_tool

    return lambda server: may_be_tool(tool, server)


def _run(
    sources: Sources | None,
    url: str,
    token: str,
    work: Callable[[Inspector], Awaitable[int]],
    only: Callable[[str], bool],
) -> None:
    from pipeguard.gateway.sources import ask_gateway, inspect_tools
    from pipeguard.runtime.loop import new_loop, prepare_threads

    async def inspecting() -> int:
        prepare_threads(asyncio.get_running_loop())
        opened = ask_gateway(url, token) if sources is None else inspect_tools(sources, only)
        async with opened as inspector:
            return await work(inspector)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        raise click.exceptions.Exit(runner.run(inspecting()))


def _fields(tool: CatalogTool) -> dict[str, object]:
    return {
        "name": tool.public,
        "server": tool.server,
        "tool": tool.name,
        "effect": tool.effect.value,
        "held": tool.is_held,
        "description": tool.description,
    }


def _table(tools: list[CatalogTool]) -> Iterator[str]:
    from pipeguard.gateway.menu import first_sentences

    width = max((len(tool.public) for tool in tools), default=0)
    for tool in tools:
        words = first_sentences(tool.description or tool.title, 80)
        held = "held until you approve its change. " if tool.is_held else ""
        yield visible(f"{tool.public:{width}}  {tool.effect.value:11}  {held}{words}")


def _say_missing(inspector: Inspector, concerns: Callable[[str], bool]) -> None:
    """Explain why servers have no tools here, or wait for approval."""
    if not inspector.servers:
        click.echo("There is no server.", err=True)
    for name, why in inspector.missing.items():
        if concerns(name):
            click.echo(visible_lines(f"{name}: {why}"), err=True)


def _known_server(inspector: Inspector, name: str) -> str:
    if name not in inspector.servers:
        raise InputError(f"there is no server {name}. {those_there_are(inspector.servers)}")
    return name


async def _known_tool(inspector: Inspector, name: str) -> CatalogTool:
    """Find the tool that a name means.

    Raises:
        InputError: no tool has the name, or several do.
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
    raise InputError(f"no tool that can be called now is called {name}.{hint}")
