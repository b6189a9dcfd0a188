"""Whether what a call gives to a tool stays on this machine, and whether a key belongs there.

A server is believed to keep things here where it runs here and every one of its tools says what it
does, and none that something leaves or comes from outside. Its own promise to reach nothing
(`openWorldHint: false`) counts for nothing. A server that lies about all of this gains little: it
gets passwords that only their name gives away, with a warning. Keys by their form, what another
server returned and its own secrets in a wrong folder are judged as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeguard.detect.commands.argument_roles import ArgumentRole, role
from pipeguard.detect.flows.key_files import (
    is_key_file,
    is_same_folder,
    is_seen_by_others,
    written_files,
)
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.scanning.scan_result import Match
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.json_walk import with_strings
from pipeguard.firewall.protocol.places import Path
from pipeguard.firewall.session.scope import Scope


def is_kept_here(scope: Scope, value: JsonValue, path: Path) -> bool:
    """Whether what stands in an argument is only kept, and on this machine.

    It is in a file or a record that the tool writes, or in a statement for a database, no tool of
    the server says that something leaves, and no file that the call names is where others see it.
    """
    if scope.tool is None:
        return False
    tool = scope.guard.tool(scope.tool)
    is_kept = tool.stores or role(tool.name, path) is ArgumentRole.STATEMENT
    if not is_kept or not scope.guard.stays_here():
        return False
    return not any(map(is_seen_by_others, written_files(value)))


def is_key_in_its_file(scope: Scope, value: JsonValue, match: Match) -> bool:
    """Whether a key is written, as it is, to a file on this machine that is made for keys."""
    is_plain = match.rule.id.startswith("secrets.") and match.view == "text"
    if not is_plain or scope.place(match.path) != "call.arguments":
        return False
    return is_kept_here(scope, value, match.path) and _are_key_files(written_files(value))


def is_at_home(scope: Scope, value: JsonValue, secret: str) -> bool:
    """Whether a secret is written to a folder that it was read from, or to a file for keys.

    Also where the call does not say which file it writes, and where the secret is from no file.
    """
    read = [each for each in scope.guard.flows.sources_of(secret) if "/" in each or "\\" in each]
    return not read or all(
        is_key_file(file) or any(is_same_folder(file.lower(), each) for each in read)
        for file in written_files(value)
    )


def restored_file(scope: Scope, value: JsonValue) -> JsonValue:
    """A call that writes a file here, with its placeholders restored; None for any other call."""
    vault = scope.guard.vault
    if vault is None or scope.tool is None or not isinstance(value, dict):
        return None
    tool = scope.guard.tool(scope.tool)
    files = written_files(value)
    if not (tool.stores and tool.labels & Label.WRITES and files):
        return None
    if _are_key_files(files) or not scope.guard.stays_here():
        return None
    return with_strings(value, lambda text: vault.restore(text).text)


def _are_key_files(files: Sequence[str]) -> bool:
    return bool(files) and all(map(is_key_file, files))
