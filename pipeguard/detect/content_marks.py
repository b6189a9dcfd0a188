"""Fingerprints of content, by which an exception holds for that content only.

Each installation has its own key, stored next to the store and not in the policy. Without it,
nobody can test a guessed secret against a policy or an exported audit (keyed BLAKE2b, RFC 7693).
"""

from hashlib import blake2b

from pipeguard.detect.scanning.scan_budget import Match
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path, serialise
from pipeguard.firewall.protocol.places import get_value

DIGITS = 32  # hex digits of a fingerprint: 128 bits
_WORD = lazy_regex(r"[A-Z]?[^\W_A-Z]+|[A-Z]+")  # of a key; an order has three or more


class ContentMarks:
    """The fingerprints in one value; a string is hashed once, however many matches it has.

    A secret in clear is marked by its own characters, whatever surrounds it. Anything else is
    marked by the whole string as it came: words that are harmless in one text may be an order in
    another. The rest after a cut contains a line of this session, so no later text would equal
    it.

    Args:
        key: the installation's; without one there are no fingerprints.
        value: the judged value.
        original: the value as it came, if a cut or a redaction changed it; else None.
    """

    def __init__(self, key: bytes, value: JsonValue, original: JsonValue = None) -> None:
        self._key = key
        self._value = value
        self._whole = value if original is None else original
        self._digests: dict[Path, bytes] = {}

    def of_match(self, match: Match) -> str:
        """The fingerprint of a match; empty without a key, and for a match over several strings."""
        if not self._key or len(match.paths) > 1:
            return ""
        if match.rule.is_private and match.exact and match.view == "text":
            text = get_value(self._value, match.path)
            if isinstance(text, str) and match.start < match.end:
                found = text[match.start : match.end].encode("utf-8", "surrogatepass")
                return self._sign(match.rule.id, b"match", blake2b(found).digest())
        digest = self._digest(match.path)
        if digest is None:
            return ""
        key = match.path[-1] if match.path else 0
        is_of_key = not isinstance(get_value(self._whole, match.path), str)  # not the value's
        if isinstance(key, str) and (is_of_key or len(_WORD.findall(key)) > 2):
            digest += key.encode("utf-8", "surrogatepass")  # in which the match may be
        return self._sign(match.rule.id, b"text", digest)

    def of_part(self, rule: str, path: Path) -> str:
        """The fingerprint of everything at a path, for a rule without a match in it."""
        digest = self._digest(path) if self._key else None
        return "" if digest is None else self._sign(rule, b"part", digest)

    def _digest(self, path: Path) -> bytes | None:
        """The digest of the value at a path; None for a key that a placeholder replaced."""
        digest = self._digests.get(path)
        if digest is None:
            found = get_value(self._whole, path)
            if found is None and get_value(self._value, path) is not None:
                return None
            text = found.encode("utf-8", "surrogatepass") if isinstance(found, str) else None
            digest = blake2b(serialise(found) if text is None else text).digest()
            self._digests[path] = digest
        return digest

    def _sign(self, rule: str, kind: bytes, digest: bytes) -> str:
        data = b"\0".join((rule.encode(), kind, digest))
        return blake2b(data, digest_size=DIGITS // 2, key=self._key).hexdigest()
