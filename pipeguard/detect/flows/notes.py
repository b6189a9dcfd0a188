"""Notes about results and requests, for the other ledgers of a client."""

from pipeguard.detect.flows.tool_labels import SINKS, Label, Tool, ToolAct
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.session.memory import Note


def note_result(result: ToolResult) -> Note:
    """Note a result."""
    tool = result.tool
    fields = True, *_list_fields(tool), *result.about
    return Note(tool.server, fields, result.frame)


def note_request(tool: Tool, frame: bytes) -> Note:
    """Note a request that was forwarded."""
    fields = False, *_list_fields(tool)
    return Note(tool.server, fields, frame, is_urgent=needs_notes(tool))


def needs_notes(tool: Tool) -> bool:
    """True if what was read may leave with a call of a tool, or make it act."""
    return tool.labels.meets(SINKS | Label.OUTSIDE) or bool(tool.acts)


def _list_fields(tool: Tool) -> tuple[object, ...]:
    return tool.name, tool.labels.value, tool.stores, tool.reaches_out, tool.acts.value, tool.looks


def read_note(note: Note, now: float) -> tuple[bool, ToolResult]:
    """Read a note.

    Args:
        note: the note.
        now: seconds on the session's clock.

    Returns:
        True and the result that it is about; or False, and the request in place of a result.
    """
    is_result, name, labels, stores, reaches_out, acts, looks, *about = note.fields
    tool = Tool(name, Label(labels), note.server, stores, reaches_out, ToolAct(acts), looks)
    return is_result, ToolResult(tool, note.frame, now - note.age_seconds, frozenset(about))
