"""The input of an engine: the text of one value, the places in it, and what its strings are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.model.data_literals import FileKind
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import Surface

PlaceOf = Callable[[Path], str]  # names the place of a path below the value


class ScanInput(NamedTuple):
    """One value to scan.

    Attributes:
        text: the strings of the value.
        place_of: names the place of a path below the value.
        keyed: True if it goes to a server.
        uses: what each of its strings is for.
        call: of which it is the result.
    """

    text: MessageText
    place_of: PlaceOf
    keyed: bool
    uses: Uses
    call: Targets = NO_CALL

    def file_kind(self) -> FileKind:
        """The kind of the files that it was read from, by their names."""
        return FileKind(self.call.file_kind)

    def asks_the_user(self, surface: Surface) -> bool:
        """True if a client shows some of it to the user (MCP client/elicitation)."""
        return surface is not Surface.DEFINITIONS and any(
            self.place_of(path).startswith("elicitation.")
            for *_, path in self.text.segments(0, len(self.text.data))
        )
