"""`pipeguard tools`: what agents find behind the gateway, and what it does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from pipeguard.cli._groups import CommandGroup
from pipeguard.cli._sources import source_options
from pipeguard.errors import InputError
from pipeguard.unicode.display import those_there_are, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeguard.firewall.protocol.json_values import JsonObject
    from pipeguard.gateway.catalog import CatalogTool
    from pipeguard.gateway.gateway import Gateway
    from pipeguard.gateway.sources import Inspector, Sources

MOST_FOUND = 50


@click.group(
    "tools",
    cls=CommandGroup,
    short_help="Find, describe and call the tools behind the gateway.",
)
def command() -> None:
    """Find, describe and call the tools behind `pipeguard serve`, as an agent would.

    The servers that it takes are started for that, and ended again. What waits for approval is not
    there. A tool is called by its public name (memory__read_graph), by server and tool
    (memory/read_graph), or by the tool's own name where no other has it.

    \b
    Examples:
      pipeguard tools search "create an issue"
      pipeguard tools list --server github
      pipeguard tools call memory__read_graph
    """  # noqa: D301  click reads the mark


@command.command("search")
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, MOST_FOUND), default=5, help="At most so many (5).")
@click.option("--server", metavar="NAME", help="Only tools of this server.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@source_options
def search(sources: Sources, query: str, limit: int, server: str | None, *, as_json: bool) -> None:
    """Find the tools that QUERY is about, in the order in which an agent gets them.

    \b
    Examples:
      pipeguard tools search "create an issue"
      pipeguard tools search "read a file" --server filesystem --limit 3

    The exit code is 1 if there is none.
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway import menu
    from pipeguard.gateway.search import Filter

    async def work(inspector: Inspector) -> int:
        only = None if server is None else Filter(servers=[_known_server(inspector, server)])
        found = inspector.gateway.catalog.search(query, limit, only)
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
            click.echo("No approved tool matches. Try other words, or fewer.", err=True)
            _say_absent(inspector.gateway, _only(server))
        return 0 if found else 1

    _run(sources, work, _only(server))


@command.command("list")
@click.option("--server", metavar="NAME", help="Only tools of this server.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(("table", "json", "yaml")),
    default="table",
    help="How (table).",
)
@source_options
def list_(sources: Sources, server: str | None, output: str) -> None:
    """List the tools of all servers, and why a server has none.

    \b
    Examples:
      pipeguard tools list
      pipeguard tools list --server github -o json
    """  # noqa: D301  click reads the mark

    async def work(inspector: Inspector) -> int:
        gateway = inspector.gateway
        if server is not None:
            _known_server(inspector, server)
        tools = [tool for tool in gateway.catalog if server in (None, tool.server)]
        fields = [_fields(tool) for tool in tools]
        if output == "json":
            click.echo(json.dumps(fields, indent=2))
        elif output == "yaml":
            import yaml

            click.echo(yaml.safe_dump(fields, sort_keys=False), nl=False)
        else:
            _print_table(tools)
        _say_absent(gateway, _only(server))
        return 0

    _run(sources, work, _only(server))


@command.command("describe")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the whole definition.")
@source_options
def describe(sources: Sources, name: str, *, as_json: bool) -> None:
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
        return 0

    _run(sources, work, _of_tool(name))


@command.command("call")
@click.argument("name")
@click.argument("arguments", default="{}")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the whole result.")
@source_options
def call(sources: Sources, name: str, arguments: str, *, as_json: bool) -> None:
    """Call a tool with ARGUMENTS, a JSON object. It is judged and audited as an agent's call.

    \b
    Examples:
      pipeguard tools call memory__read_graph
      pipeguard tools call everything__echo '{"message": "hello"}'

    The exit code is 1 if the tool says that it failed, or the call was blocked.
    """  # noqa: D301  click reads the mark
    from pipeguard.gateway.sources import as_json as written

    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the arguments are not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise InputError('the arguments are not a JSON object, as {"message": "hello"}.')

    async def work(inspector: Inspector) -> int:
        tool = await _known_tool(inspector, name)
        answer = await inspector.request("tools/call", {"name": tool.public, "arguments": given})
        result, error = answer.get("result"), answer.get("error")
        if not isinstance(result, dict):
            message = error.get("message") if isinstance(error, dict) else "it failed"
            raise InputError(str(message))
        click.echo(written(result) if as_json else visible_lines(_text(result)))
        return 1 if result.get("isError") is True else 0

    _run(sources, work, _of_tool(name))


def _only(server: str | None) -> Callable[[str], bool]:
    """Find the servers that are needed for the tools of one, or of all."""
    return lambda name: server in (None, name)


def _of_tool(tool: str) -> Callable[[str], bool]:
    """Find the servers that may have a tool, by its name."""
    from pipeguard.gateway.catalog import may_be_tool

    return lambda server: may_be_tool(tool, server)


def _run(
    sources: Sources,
    work: Callable[[Inspector], Awaitable[int]],
    only: Callable[[str], bool],
) -> None:
    from pipeguard.gateway.sources import inspect_tools
    from pipeguard.runtime.http import new_loop, prepare_threads

    async def inspecting() -> int:
        prepare_threads(asyncio.get_running_loop())
        async with inspect_tools(sources, "error", only) as inspector:
            return await work(inspector)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        raise click.exceptions.Exit(runner.run(inspecting()))


def _fields(tool: CatalogTool) -> dict[str, object]:
    return {
        "name": tool.public,
        "server": tool.server,
        "tool": tool.name,
        "effect": tool.effect.value,
        "description": tool.description,
    }


def _print_table(tools: list[CatalogTool]) -> None:
    from pipeguard.gateway.menu import first_sentences

    width = max((len(tool.public) for tool in tools), default=0)
    for tool in tools:
        words = first_sentences(tool.description or tool.title, 80)
        click.echo(visible(f"{tool.public:{width}}  {tool.effect.value:11}  {words}"))


def _absent(gateway: Gateway) -> dict[str, str]:
    """Why servers have no tools here, or not all, by name."""
    from pipeguard.gateway.life import definitions_wait

    absent = gateway.absent()
    for name in gateway.waiting():
        member = gateway.members[name]
        stored_as = member.run.guard.name
        why = (
            f"{definitions_wait(member.waiting)} for approval: pipeguard approve {stored_as} --all"
        )
        absent.setdefault(name, why)
    return absent


def _say_absent(gateway: Gateway, concerns: Callable[[str], bool]) -> None:
    """Say why servers have no tools here, or not all."""
    for name, why in _absent(gateway).items():
        if concerns(name):
            click.echo(visible_lines(f"{name}: {why}"), err=True)


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

    catalog = inspector.gateway.catalog
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
    _say_absent(inspector.gateway, named.__contains__ if named else _only(None))
    raise InputError(f"no approved tool is called {name}.{hint}")


def _text(result: JsonObject) -> str:
    blocks = result.get("content")
    texts = [
        str(block.get("text", f"[{block.get('type')}]"))
        for block in (blocks if isinstance(blocks, list) else [])
        if isinstance(block, dict)
    ]
    return "\n".join(texts)
