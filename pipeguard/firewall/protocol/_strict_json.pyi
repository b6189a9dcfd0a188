from pipeguard.firewall.protocol.json_values import JsonValue, Number

def read_frame(
    frame: bytes, number: type[Number], limits: tuple[int, int, int], /
) -> tuple[JsonValue, bool] | None: ...
