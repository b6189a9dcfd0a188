from collections.abc import Callable

def outline_frame(
    frame: bytes,
    keyed: int,
    readers: tuple[Callable[[str], int], Callable[[str, str, set[str]], None]],
    raw_bytes: int = 0,
    /,
) -> tuple[object, ...] | None: ...
def unwrap_json(data: bytearray, low: int, high: int, spans: list[int], /) -> int: ...
def may_hold_name(frame: bytes, /) -> bool: ...
