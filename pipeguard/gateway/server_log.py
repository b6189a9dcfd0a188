"""The log of one server among many."""

from __future__ import annotations

from pipeguard.config.options import WrapOptions
from pipeguard.log import Log

HELD = "trust.held"


class ServerLog(Log):
    """The log of one server among many: each line has its name.

    What a held definition is stopped for is not logged each time that it is listed.
    """

    def __init__(self, server: str, options: WrapOptions) -> None:
        super().__init__(options.values.get("--log-level"), options.values.get("--log-format"))
        self._server = server

    def __call__(self, level: str, event: str, **fields: object) -> None:
        """Write one line; secrets in `fields` are masked already."""
        if not event.endswith(f" {HELD}"):
            super().__call__(level, event, server=self._server, **fields)
