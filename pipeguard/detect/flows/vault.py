"""Secrets that were taken out of a server's messages, by their placeholders. Knows no messages.

In memory only, and never many: a placeholder whose secret is forgotten is refused when it comes
back. A placeholder cannot be made up, because it is signed with a key of this run.
"""

import re
from collections import OrderedDict
from hashlib import sha256
from threading import Lock

from pipeguard.firewall.budgets import measure_text
from pipeguard.firewall.session.placeholders import PLACEHOLDER
from pipeguard.records import NamedTuple

MAX_SECRETS = 1000
MAX_BYTES = 4 * 2**20  # of all secrets together, in memory
MAX_SECRET_CHARACTERS = 2**18  # a longer one is taken out for good
TAG_BYTES = 8  # of the signature: 64 bits, too many to guess in a session
MAX_SENT = 32  # secrets put back lately that are looked for in the server's messages
MAX_SENT_BYTES = 2 * 2**20  # of these together, in memory
MIN_ECHO = 8  # characters: shorter texts are anywhere by chance
# Of the parameters of a method, the one in which secrets are put back.
RESTORED = {"tools/call": "arguments", "prompts/get": "arguments", "resources/read": "uri"}


class RestoredText(NamedTuple):
    """A text with its secrets put back.

    Attributes:
        text: with them.
        restored_count: how many were put back.
        unknown_count: how many placeholders have no secret here.
    """

    text: str
    restored_count: int
    unknown_count: int


class Vault:
    """The secrets of one server, by their placeholders; always empty without a key.

    Attributes:
        key: random bytes of this run, which sign placeholders and lines.
    """

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._secrets: OrderedDict[str, tuple[str, str]] = OrderedDict()  # the rule, the secret
        self._bytes = self._sent_bytes = 0
        self._count = 0
        self._names: dict[tuple[str, str], str] = {}
        self._credentials: list[str] | None = []  # None until they are listed again
        self._sent_secrets: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()  # one thread takes secrets out, another puts them back

    def placeholder(self, rule: str, secret: str) -> str:
        """The placeholder for a secret: the same one each time, or the rule if it is not kept."""
        pack, _, name = rule.partition(".")
        kind = "personal" if pack == "personal" else "secret"
        if not self.key or len(secret) > MAX_SECRET_CHARACTERS:
            return f"[redacted:{rule}]"
        with self._lock:
            existing = self._names.get((rule, secret))
            if existing is not None:
                self._secrets.move_to_end(existing)
                return existing
            self._credentials = None
            self._count += 1
            head = f"{kind}:{name}:{self._count}"
            placeholder = f"[{head}:{self.tag(head, secret)}]"
            self._secrets[placeholder] = rule, secret
            self._names[(rule, secret)] = placeholder
            self._bytes += measure_text(secret)
            while len(self._secrets) > MAX_SECRETS or self._bytes > MAX_BYTES:
                _, oldest = self._secrets.popitem(last=False)
                self._bytes -= measure_text(oldest[1])
                del self._names[oldest]
        return placeholder

    @property
    def is_empty(self) -> bool:
        """True if nothing was taken out, or all of it is forgotten."""
        return not self._secrets

    def knows(self, text: str) -> bool:
        """True for a secret that was taken out of the server's messages, or a part of one."""
        with self._lock:
            secrets = list(self._secrets.values())
        return len(text) >= MIN_ECHO and any(text in secret for _, secret in secrets)

    def find_secrets(self, text: str) -> list[str]:
        """The credentials among the secrets that are in a text unchanged.

        Of a name and its password, the password is enough.
        """
        return [secret for secret in self._list_credentials() if secret in text]

    def _list_credentials(self) -> list[str]:
        with self._lock:
            if self._credentials is None:
                pairs = self._secrets.items()
                secrets = [secret for made, (_, secret) in pairs if made.startswith("[secret:")]
                passwords = (secret.rpartition(":")[2] for secret in secrets)
                wanted = dict.fromkeys([*secrets, *passwords])
                self._credentials = [secret for secret in wanted if len(secret) >= MIN_ECHO]
            return self._credentials

    def sign(self, text: str) -> str:
        """Sign a line that PipeGuard writes; empty without a key."""
        return self.tag("cut", text) if self.key else ""

    def tag(self, head: str, secret: str) -> str:
        """Sign data for this run, with the key at both ends: a plain digest can be extended."""
        inner = sha256(self.key + f"{head}:{secret}".encode("utf-8", "replace")).digest()
        return sha256(self.key + inner).digest()[:TAG_BYTES].hex()

    def restore(self, text: str, *, is_sent: bool = False) -> RestoredText:
        """Put back the secret of each placeholder; one without a secret stays.

        Args:
            text: possibly with placeholders.
            is_sent: True if it goes to the server, which may then repeat it.
        """
        restored_count = unknown_count = 0

        def put_back(match: re.Match[str]) -> str:
            nonlocal restored_count, unknown_count
            with self._lock:
                _, secret = self._secrets.get(match[0], (None, None))
                if secret is not None and is_sent and len(secret) >= MIN_ECHO:
                    self._note_sent(secret, match[0])
            if secret is None:
                unknown_count += 1
                return match[0]
            restored_count += 1
            return secret

        with_secrets = PLACEHOLDER.sub(put_back, text)
        return RestoredText(with_secrets, restored_count, unknown_count)

    def _note_sent(self, secret: str, placeholder: str) -> None:
        if secret not in self._sent_secrets:
            self._sent_bytes += measure_text(secret)
        self._sent_secrets[secret] = placeholder
        self._sent_secrets.move_to_end(secret)
        while len(self._sent_secrets) > MAX_SENT or self._sent_bytes > MAX_SENT_BYTES:
            gone, _ = self._sent_secrets.popitem(last=False)
            self._sent_bytes -= measure_text(gone)

    def sent_secrets(self) -> dict[str, str]:
        """The secrets that were put back lately and may be echoed, with their placeholders."""
        if not self._sent_secrets:  # mostly
            return {}
        with self._lock:
            return dict(self._sent_secrets)
