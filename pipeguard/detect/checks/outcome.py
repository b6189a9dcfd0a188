"""The outcome of a check, and the tables of checks by their names."""

from collections.abc import Callable, Mapping

AROUND = b"\0"  # between a match and its surroundings, if a check runs on both

# A check's opinion of a secret: True if it holds, False if it fails, None if it cannot tell.
Outcome = bool | None
Check = Callable[[bytes], Outcome]
Checks = Mapping[str, Check]
ChecksWithArgument = Mapping[str, Callable[[str], Check]]
