from collections.abc import Callable

from pipeguard.detect.text.layouts import Layout
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number

Readers = tuple[
    type[Number],
    frozenset[str],
    Callable[[JsonValue], str],
    Callable[[str], bool],
    Callable[[JsonObject], str],
]

def lay_out(value: JsonValue, keyed: bool, readers: Readers, /) -> Layout: ...
def named_strings(
    value: JsonValue, name_value: Callable[[JsonObject], str], /
) -> list[tuple[str, str]]: ...
