"""Names of credentials: arguments of calls, settings and headers."""

from itertools import pairwise

from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

_ARGUMENT = lazy_regex(rf"(?i)(?:\w{{1,30}}[_-])?(?:{credentials.alternatives('ARGUMENTS')})")


def is_credential_name(name: str) -> bool:
    """True if an argument of a call is meant for a credential."""
    return _ARGUMENT.fullmatch(name) is not None


def is_secret_setting(name: str) -> bool:
    """True if a setting is a credential, and not only about one."""
    words = name_words(name)
    is_session_id = words[-2:] == ["session", "id"]
    if not words or (words[-1] in credentials.ABOUT_SECRETS and not is_session_id):
        return False
    if words[-1] == "key" and credentials.OTHER_KEYS.isdisjoint(words):
        return True
    pairs = {f"{first}_{second}" for first, second in pairwise(words)}
    return bool(
        credentials.SETTINGS.intersection(words) or credentials.SETTINGS_OF_TWO_WORDS & pairs
    )


def is_secret_header(name: str) -> bool:
    """True if an HTTP header may carry a credential."""
    return any(part in name.lower() for part in credentials.HEADERS)
