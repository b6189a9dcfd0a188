"""A policy that allows the tools whose calls passed in records. Decides nothing."""

import re
from collections import defaultdict
from collections.abc import Iterable
from glob import escape
from itertools import chain
from pathlib import Path

import yaml

from pipeguard.detect.commands.call_names import find_targets
from pipeguard.replay.server import read_message
from pipeguard.state.record.lines import read_lines
from pipeguard.unicode.display import visible

_FILE = r"(?<=.)/[^/.][^/]*\.[^/]+$"  # a last name with a suffix, which is no folder's


def learn_policy(records: Iterable[Path]) -> str:
    """Write a policy that allows the tools whose calls passed, as YAML.

    Comments name the hosts and folders of their calls. Tools whose names nobody can read are left
    out.

    Raises:
        RecordError: a record cannot be read, or was changed.
    """
    used = defaultdict[str, set[str]](set)  # by tool: hosts and folders
    for _, fields in chain.from_iterable(map(read_lines, records)):
        match fields, read_message(fields):
            case (
                {"from": "client", "action": "allow" | "warn" | "redact"},
                {"method": "tools/call" as method, "params": {"name": str(tool)} as params},
            ) if tool and visible(tool) == tool.strip():
                paths, hosts = find_targets(method, tool, params, 0).facts.names
                used[tool].update(hosts, (re.sub(_FILE, "", path) for path in paths))
    lines = [yaml.safe_dump({"tools": {"allow": [escape(tool) for tool in sorted(used)]}})]
    for tool, names in sorted(used.items()):
        if names:
            lines.append(f"# {tool}: {visible(', '.join(sorted(names)))}\n")
    return "".join(lines)
