"""A new guarded server for one client: as text to paste, and as a link that installs it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from pipeguard.clients.catalog import Client, FileSpec, Shape
from pipeguard.clients.guarding import GuardedCommand, words_of
from pipeguard.config.toml_text import Toml
from pipeguard.config.tree import Value

_PLACEHOLDER = "LAUNCHER"


@dataclass(frozen=True, slots=True)
class Snippet:
    """What a person needs to add the server by hand.

    Attributes:
        text: the text for the client's file, in its format; empty for a client without one.
        link: a link that installs the server; empty where the client has none.
        paste: what to do where there is no file.
        command: the whole guarded command.
    """

    text: str
    link: str
    paste: str
    command: tuple[str, ...]


def snippet(
    client: Client,
    name: str,
    launcher: Sequence[str],
    *,
    command: Sequence[str] = (),
    url: str = "",
) -> Snippet:
    """A guarded server that is new to a client.

    Args:
        client: the client.
        name: the server's name.
        launcher: the words that start PipeGuard.
        command: the server's own words; empty for a remote one.
        url: a remote server's address.
    """
    words = words_of(GuardedCommand(tuple(launcher), tuple(command), url or None, name=name))
    paste = client.paste.replace(_PLACEHOLDER, launcher[0])
    if not client.files:
        return Snippet("", "", paste, tuple(words))
    spec = client.files[0]
    entry = new_fields(spec.shape, words)
    return Snippet(_text(spec, name, entry), _link(client, name, entry, words), paste, tuple(words))


def new_fields(shape: Shape, words: Sequence[str]) -> dict[str, Value]:
    """The fields of a new entry that a client starts."""
    kind: dict[str, Value] = {shape.kinds[0]: shape.stdio} if shape.kinds and shape.stdio else {}
    if not shape.args:
        return {**kind, shape.command: list(words)}
    return {**kind, shape.command: words[0], shape.args: list(words[1:])}


def _text(spec: FileSpec, name: str, entry: Mapping[str, Value]) -> str:
    keys = spec.servers[0]
    if spec.named:
        entry = {spec.named: name, **entry}
    if spec.format == "toml":
        toml = Toml()
        lines = [f"{key} = {toml.literal(value)}" for key, value in entry.items()]
        path = ".".join((*keys, *(() if spec.named else (toml.key(name),))))
        head = f"[[{path}]]" if spec.named else f"[{path}]"
        return "\n".join((head, *lines))
    whole: Value = [entry] if spec.named else {name: entry}
    for key in reversed(keys):
        whole = {key: whole}
    if spec.format == "yaml":
        import yaml

        dumped: str = yaml.safe_dump(whole, sort_keys=False, default_flow_style=None, width=1000)
        return dumped.rstrip("\n")
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _link(client: Client, name: str, entry: Mapping[str, Value], words: Sequence[str]) -> str:
    plain = json.dumps(entry, separators=(",", ":"))
    named = json.dumps({"name": name, **entry}, separators=(",", ":"))
    arguments = urlencode(
        [("cmd", words[0]), *(("arg", word) for word in words[1:])], quote_via=quote
    )
    return client.link.format(
        name=quote(name, safe=""),
        json=quote(named, safe=""),
        base64=quote(base64.b64encode(plain.encode()).decode(), safe=""),
        arguments=arguments,
    )
