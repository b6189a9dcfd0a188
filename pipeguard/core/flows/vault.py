"""What was taken out of a server's words, and what stands in its place. Knows no message.

Kept in memory only, and never more than a little of it: what is forgotten is refused when it comes
back, never guessed at. A placeholder cannot be made up, since it is signed with a key of this run.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from pipeguard.core.digest import sha256
from pipeguard.core.memory import size_of

MAX_SECRETS = 1000
MAX_BYTES = 4 * 2**20  # of all secrets together, in memory
MAX_SECRET_CHARACTERS = 2**18  # a longer one is taken out for good
TAG_BYTES = 8  # of the signature: 64 bits, which nobody guesses in a session
MAX_SENT = 32  # secrets put back of late that are looked for in what the server says
MAX_SENT_BYTES = 2 * 2**20  # of these together, in memory
MIN_ECHO = 8  # characters: shorter ones stand anywhere by chance
# Of the parameters of a method, the one in which secrets are put back.
RESTORED = {"tools/call": "arguments", "prompts/get": "arguments", "resources/read": "uri"}
# In a frame that could hold a placeholder, plain or escaped (RFC 8259, section 7).
MARKS = (b"[secret:", b"[personal:", b"\\u00")
PLACEHOLDER = re.compile(r"\[(?:secret|personal):[a-z0-9-]{1,64}:[0-9]{1,9}:[0-9a-f]{16}\]")


class Restored(NamedTuple):
    """A text with what was behind its placeholders.

    Attributes:
        text: with the secrets put back.
        known: how many were.
        unknown: how many placeholders have nothing behind them here.
    """

    text: str
    known: int
    unknown: int


class Vault:
    """The secrets of one server, by the placeholders that stand for them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._secrets: OrderedDict[str, tuple[str, str]] = OrderedDict()  # the rule, the secret
        self._bytes = self._sent_bytes = 0
        self._count = 0
        self._names: dict[tuple[str, str], str] = {}
        self._sent: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()  # one thread takes out, another puts back

    def placeholder(self, rule: str, secret: str) -> str:
        """What stands for a secret from now on: the same for the same one."""
        pack, _, name = rule.partition(".")
        kind = "personal" if pack == "personal" else "secret"
        if len(secret) > MAX_SECRET_CHARACTERS:
            return f"[redacted:{rule}]"
        with self._lock:
            known = self._names.get((rule, secret))
            if known is not None:
                self._secrets.move_to_end(known)
                return known
            self._count += 1
            head = f"{kind}:{name}:{self._count}"
            made = f"[{head}:{self._tag(head, secret)}]"
            self._secrets[made] = (rule, secret)
            self._names[(rule, secret)] = made
            self._bytes += size_of(secret)
            self._forget()
        return made

    @property
    def is_empty(self) -> bool:
        """True where nothing was taken out, or all of it is forgotten."""
        return not self._secrets

    def knows(self, text: str) -> bool:
        """Whether a text is a secret that was taken out of the server's words, or a part of one."""
        if len(text) < MIN_ECHO:
            return False
        with self._lock:
            secrets = list(self._secrets.values())
        return any(text in secret for _, secret in secrets)

    def told_in(self, text: str) -> list[str]:
        """The credentials among the secrets that stand in a text as they are.

        Of a name and its password, the password is enough.
        """
        with self._lock:
            kept = list(self._secrets.items())
        secrets = [secret for made, (_, secret) in kept if made.startswith("[secret:")]
        passwords = (secret.rpartition(":")[2] for secret in secrets)
        wanted = dict.fromkeys([*secrets, *passwords])
        return [one for one in wanted if len(one) >= MIN_ECHO and one in text]

    def _tag(self, head: str, secret: str) -> str:
        """The key before and after (RFC 2104 in short): a digest alone could be made longer."""
        inner = sha256(self._key + f"{head}:{secret}".encode("utf-8", "replace")).digest()
        return sha256(self._key + inner).digest()[:TAG_BYTES].hex()

    def _forget(self) -> None:
        while len(self._secrets) > MAX_SECRETS or self._bytes > MAX_BYTES:
            _, known = self._secrets.popitem(last=False)
            self._bytes -= size_of(known[1])
            del self._names[known]

    def restore(self, text: str, *, is_sent: bool = False) -> Restored:
        """Put back what is behind each placeholder; what has nothing behind it stays.

        Args:
            text: in which placeholders may stand.
            is_sent: True where it goes to the server, which may then say it again.
        """
        known = unknown = 0

        def behind(found: re.Match[str]) -> str:
            nonlocal known, unknown
            secret = self._behind(found[0], is_sent=is_sent)
            if secret is None:
                unknown += 1
                return found[0]
            known += 1
            return secret

        return Restored(PLACEHOLDER.sub(behind, text), known, unknown)

    def _behind(self, made: str, *, is_sent: bool) -> str | None:
        with self._lock:
            _, secret = self._secrets.get(made, (None, None))
            if secret is not None and is_sent and len(secret) >= MIN_ECHO:
                if secret not in self._sent:
                    self._sent_bytes += size_of(secret)
                self._sent[secret] = made
                self._sent.move_to_end(secret)
                while len(self._sent) > MAX_SENT or self._sent_bytes > MAX_SENT_BYTES:
                    gone, _ = self._sent.popitem(last=False)
                    self._sent_bytes -= size_of(gone)
            return secret

    def sent(self) -> dict[str, str]:
        """The secrets that were put back of late and may be echoed, with their placeholders."""
        with self._lock:
            return dict(self._sent)


def holds_marks(frame: bytes) -> bool:
    """True where a frame could hold a placeholder."""
    return any(mark in frame for mark in MARKS)
