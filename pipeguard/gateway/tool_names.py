"""Which tool a name means that is not the public name: `server/tool`, or the tool's own.

A server chooses the names of its tools, so that a tool's own name is never taken where a server is
named: `evil` may call a tool `files__read`, and `files` may be without one just now.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.gateway.catalog import SEPARATOR, Catalog, CatalogTool

MARKS = ("/", SEPARATOR)  # between a server and a tool


def tools_of_server(
    catalog: Catalog, name: str, is_allowed: Callable[[CatalogTool], bool] = lambda _: True
) -> list[CatalogTool]:
    """The tools that a name with a server in it may mean: one for a public name.

    Args:
        catalog: where to look.
        name: public, `server/tool` or `server__tool`.
        is_allowed: what may be found at all.
    """
    tool = catalog.named(name)
    if tool is not None:
        return [tool] if is_allowed(tool) else []
    return [
        tool
        for tool in catalog
        if name in (f"{tool.server}{mark}{tool.name}" for mark in MARKS) and is_allowed(tool)
    ]


def tools_named(catalog: Catalog, name: str) -> list[CatalogTool]:
    """The tools that a person may mean, who need not name the server."""
    found = tools_of_server(catalog, name)
    if found or any(mark in name for mark in MARKS):
        return found
    return [tool for tool in catalog if tool.name == name]


def may_be_of(name: str, server: str) -> bool:
    """True where a name begins as those of a server's tools do."""
    return name.startswith(tuple(f"{server}{mark}" for mark in MARKS))
