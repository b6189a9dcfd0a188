from collections.abc import Callable

def outline_frame(
    frame: bytes,
    keyed: bool,
    readers: tuple[Callable[[str], int], Callable[[str, str, set[str]], None]],
) -> tuple[object, ...] | None: ...
