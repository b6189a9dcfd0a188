"""A JSON tree, and the strings in it by their paths. Knows nothing of cases."""

from collections.abc import Iterator

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Object = dict[str, Json]
JsonPath = tuple[str | int, ...]  # from the root down


def strings(value: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, str]]:
    """Each string below a value, with its path; `path` leads to the value."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from strings(member, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from strings(item, (*path, number))


def value_at(root: Json, path: JsonPath) -> Json:
    """The value at a path; None for a missing member at its end."""
    value = root
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        else:
            assert isinstance(value, list)
            assert isinstance(step, int)
            value = value[step]
    return value


def text_at(root: Json, path: JsonPath) -> str:
    """The string at a path."""
    text = value_at(root, path)
    assert isinstance(text, str)
    return text


def put(root: Json, path: JsonPath, new: Json) -> None:
    """Replace the value at a path."""
    parent, last = value_at(root, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[str(last)] = new
    elif isinstance(parent, list) and isinstance(last, int):
        parent[last] = new
