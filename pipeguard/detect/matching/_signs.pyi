from collections.abc import Callable

def find(
    data: bytes,
    on_match: Callable[[int, int, int, int, object], None],
    flags: int,
    context: object,
    tables: tuple[tuple[int, ...], bytes],
    /,
) -> None: ...
