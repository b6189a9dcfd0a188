"""Agents that call tools without asking: settings of clients, as their files say."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeguard.assess.checks.projects import APPROVAL_KEYS
from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.catalog import ConfigScope, FileSpec, clients
from pipeguard.clients.entries import MAX_FILE_BYTES, ServerEntry
from pipeguard.clients.machine import paths
from pipeguard.clients.reading import read_text
from pipeguard.config.directories import read
from pipeguard.config.tree import find_line
from pipeguard.errors import InputError
from pipeguard.firewall.finding import Severity

(UNASKED,) = CHECKS = read_checks("agents")


def look(target: AssessmentTarget) -> Findings:
    """Check the settings of every client; in a repository, only those that it contains."""
    for server in target.servers:
        if server.scope is not ConfigScope.PROJECT:  # else it is the project that answers
            yield from _find_trusted(target, server)
    machine = target.machine
    if target.root:
        machine = machine._replace(project=target.root)
    for client in clients().values():
        for spec, value in client.unasked:
            if target.is_repository and spec.scope is not ConfigScope.PROJECT:
                continue
            for path in paths(machine, client, spec):
                yield from _find_setting(path, client.name, spec, value)


def _find_trusted(target: AssessmentTarget, server: ServerEntry) -> Findings:
    """Find a server whose tools the client calls without asking."""
    for key in APPROVAL_KEYS:
        value = server.fields.get(key)
        if value is True or (isinstance(value, (list, tuple)) and "*" in value):
            message = f"`{key}` has all of its tools called without asking."
            line = target.line(server, key)
            yield UNASKED.at(server, message, line=line, key=key, severity=Severity.LOW)


def list_settings() -> Iterator[str]:
    """Each setting that is looked for, with its client, in Markdown."""
    listed = (
        f"- {client.name}: `{'.'.join(spec.servers[0])}: {json.dumps(value)}`"
        for client in clients().values()
        for spec, value in client.unasked
    )
    yield from dict.fromkeys(listed)


def _find_setting(path: Path, name: str, spec: FileSpec, value: object) -> Findings:
    try:
        content, _ = read(str(path), MAX_FILE_BYTES, InputError)
    except InputError:
        return  # nor can its client read it
    reading = read_text(content, spec)
    node = reading.tree.at(spec.servers[0]) if reading.tree else None
    data = None if node is None else node.data()
    if isinstance(value, list):  # any of these among others
        data = [item for item in data if item in value] if isinstance(data, Sequence) else []
    elif type(data) is not type(value) or data != value:
        return
    if node is None or not data:
        return
    key = ".".join(spec.servers[0])
    line = find_line(reading.text, node.start)
    message = f"With `{key}: {json.dumps(data)}`, {name} does not ask first."
    yield replace(UNASKED.at(path, message, line=line, key=key), client=spec.client)
