"""Bearer tokens of clients in a file, which may change while we listen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeguard.config.directories import read_own
from pipeguard.errors import PolicyError
from pipeguard.secrets_in_use import IN_USE

MAX_TOKEN_FILE_BYTES = 2**20


class TokenFile:
    """A file of lines `NAME TOKEN`, read each time its tokens are needed.

    Its time stamps are not compared: an edit can keep its size and its times.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None  # as it was last read
        self._fault = ""
        self._tokens: dict[str, str] = {}

    def read(self) -> Mapping[str, str]:
        """The current tokens by name; none if the file is gone, or must not be trusted any more.

        Raises:
            PolicyError: it could never be read, or must not be trusted.
        """
        try:
            self._parse(read_own(str(self._path), MAX_TOKEN_FILE_BYTES, PolicyError))
            self._fault = ""
        except (PolicyError, UnicodeDecodeError) as error:
            if self._content is None:
                raise PolicyError(f"--token-file {self._path}: {error}") from None
            self._parse(b"")
            if str(error) != self._fault:
                from pipeguard.log import say

                say(f"--token-file {self._path}: no token in it lets in any more. {error}")
                self._fault = str(error)
        return self._tokens

    def _parse(self, content: bytes) -> None:
        if content == self._content:
            return
        lines = content.decode("utf-8").splitlines()
        pairs = [line.split(None, 1) for line in lines if line.strip()[:1] not in ("", "#")]
        self._tokens = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
        IN_USE.add(self._tokens.values())
        self._content = content
