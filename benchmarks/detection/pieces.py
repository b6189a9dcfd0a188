"""Puts the pieces of a split text into places that a client reads together."""

from benchmarks.detection.cases import Way
from benchmarks.detection.json_tree import Json, JsonPath, Object, put, value_at


def lay_out(body: Object, way: Way, path: JsonPath, pieces: list[str], view: str) -> None:
    """Put the pieces of a text in its place, or in places that a client reads together.

    Args:
        body: of the case, which is changed.
        way: the part of a conversation that contains it.
        path: of the text.
        pieces: of the text.
        view: one of `SPLITS`.
    """
    if way is Way.DEFINITION:
        _into_definition(body, path, pieces, view)
        return
    in_block = way is Way.RESULT and len(path) == 4 and path[1] == "content"
    if not in_block:
        put(body, path, _structure(pieces, view))
        return
    result = body["result"]
    assert isinstance(result, dict)
    blocks, index = result["content"], path[2]
    assert isinstance(blocks, list)
    assert isinstance(index, int)
    if view == "split-blocks":
        blocks[index] = {"type": "text", "text": pieces[0]}
        blocks.extend({"type": "text", "text": piece} for piece in pieces[1:])
        return
    blocks[index] = {"type": "text", "text": ""}
    structured = result.setdefault("structuredContent", {})
    assert isinstance(structured, dict)
    structured[f"parts{index or ''}"] = _structure(pieces, view)


def _structure(pieces: list[str], view: str) -> Json:
    if view == "split-fields":
        return {f"part{number}": piece for number, piece in enumerate(pieces, 1)}
    if view == "split-keys":
        return {piece: number for number, piece in enumerate(pieces, 1)}
    if view == "split-blocks":
        return [{"type": "text", "text": piece} for piece in pieces]
    return list(pieces)


def _into_definition(body: Object, path: JsonPath, pieces: list[str], view: str) -> None:
    """Put the pieces into titles, or into values or names of parameters: a client shows them."""
    if path[0] != "tools":
        put(body, path, "\n".join(pieces))  # instructions are one text
        return
    tool = value_at(body, path[:2])
    assert isinstance(tool, dict)
    if view in ("split-fields", "split-blocks"):
        put(body, path, pieces[0])
        annotations = tool.setdefault("annotations", {})
        assert isinstance(annotations, dict)
        tool["title"], annotations["title"] = pieces[1], "".join(pieces[2:])
        return
    put(body, path, "")
    schema = tool.setdefault("inputSchema", {"type": "object"})
    assert isinstance(schema, dict)
    properties = schema.setdefault("properties", {})
    assert isinstance(properties, dict)
    if view == "split-array":
        properties["mode"] = {"type": "string", "enum": list(pieces)}
    else:
        properties |= {piece: {"type": "string"} for piece in pieces}
