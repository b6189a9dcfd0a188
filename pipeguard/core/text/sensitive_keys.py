"""Keys of JSON objects that say that their value may be private, such as `api_key` or `iban`.

Rules ask for such a name before a value. Knows words in keys; rules know what values look like.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.protocol.json_values import JsonObject
from pipeguard.core.words.credentials import KEYS

LONGEST_KEY = 100  # characters: a longer key is a text and not a name
LONGEST_NAMED = 600  # characters of a value that is read together with its key

# Words of the names that rules ask for before a value: of credentials, then of personal numbers.
_SENSITIVE = lazy_regex(
    f"{'|'.join(KEYS)}|"
    "card|cc|pan|iban|konto|account|ssn|social|tin|tax|routing|aba|npi|dea|nino|insurance|nhs|sin|"
    "nas|zehut|id.?n|person|pnr|amka|nir|secu|steuer|idnr|dni|nie|nif|fisc|bsn|pesel|cnp|egn|"
    "regist|niss|insz|cislo|číslo|rč|hetu|tunnus|ahv|avs|nss|pps|cpr|cpf|cnpj|cuit|cuil|rut|run|curp|"
    "aadh|uid|passport|mrz|vin|chassis|imei|tfn|abn|nric|fin|kimlik|tck|inn|snils|rrn|jumin|sfz|"
    "number|身份|居民|マイナ|個人|주민|инн|снилс|егн|αμκα|ת|आधार",
    re.IGNORECASE,
)


def is_sensitive(key: str) -> bool:
    """True for a key whose value may be private."""
    return len(key) <= LONGEST_KEY and _has_sensitive_word(key)  # longer keys fill the cache


@lru_cache(maxsize=4096)
def _has_sensitive_word(key: str) -> bool:
    return _SENSITIVE.search(key) is not None


def sensitive_label(value: JsonObject) -> str:
    """The name in an object such as `{"name": "API_KEY", "value": ...}`, if sensitive; else empty.

    Lists of variables and headers are written so.
    """
    content = value.get("value")
    if type(content) is not str or len(content) > LONGEST_NAMED:
        return ""
    for key in ("name", "key", "label", "variable"):
        name = value.get(key)
        if type(name) is str and is_sensitive(name):
            return name
    return ""
