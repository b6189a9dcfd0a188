from pipeguard.firewall.protocol.json_values import JsonValue, Number

def read_frame(
    frame: bytes, number: type[Number], limits: tuple[int, int, int], /
) -> tuple[JsonValue, bool] | None: ...
def read_envelope(
    value: JsonValue, number: type[Number], /
) -> tuple[int, str | None, str | None] | None: ...
