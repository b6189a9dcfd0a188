from typing import TypeAlias

_Buffer: TypeAlias = bytes | memoryview
# Slots, ends, letters, values and steps; parts, row, width, layers and outputs: network.
_Weights: TypeAlias = tuple[_Buffer, _Buffer, _Buffer, _Buffer, bytes, int, int, int, int, int]

def logits(texts: bytes, weights: _Weights, output: int, scratch: bytearray, /) -> list[float]: ...
def scratch_bytes(row: int, width: int, /) -> int: ...
