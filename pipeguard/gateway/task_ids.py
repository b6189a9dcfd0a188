"""Ids of tasks: `server/id` for clients, and the server's own id for the server.

Values only. Source: MCP 2025-11-25, basic/utilities/tasks, "Associating Task-Related Messages".
"""

from __future__ import annotations

from collections.abc import Callable

from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.transports.http.correlator import RELATED_TASK

SEPARATOR = "/"


def shown_id(server: str, task_id: str) -> str:
    """The id under which clients know a task."""
    return f"{server}{SEPARATOR}{task_id}"


def with_shown(server: str, body: JsonObject) -> JsonObject:
    """Rename the tasks in a server's message, also where `_meta` names one."""
    return _renamed(body, lambda task_id: shown_id(server, task_id))


def with_own(server: str, body: JsonObject) -> JsonObject:
    """Rename the tasks in a client's message, likewise."""
    return _renamed(body, lambda task_id: task_id.removeprefix(shown_id(server, "")))


def _renamed(body: JsonObject, rename: Callable[[str], str]) -> JsonObject:
    meta = body.get("_meta")
    related = meta.get(RELATED_TASK) if isinstance(meta, dict) else None
    task_id: JsonValue = related.get("taskId") if isinstance(related, dict) else None
    if not isinstance(meta, dict) or not isinstance(related, dict) or type(task_id) is not str:
        return body
    return {**body, "_meta": {**meta, RELATED_TASK: {**related, "taskId": rename(task_id)}}}
