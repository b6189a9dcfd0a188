"""Words of names and sentences, in small letters, in any joined spelling."""

from __future__ import annotations

from pipeguard.firewall.lazy_regex import lazy_regex

_NAME_WORD = lazy_regex(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Words in Chinese, Japanese or Korean signs stand beside letters without a blank.
_WORD = lazy_regex(
    r"[A-Z]+(?![a-z])|(?:(?![\W\d_])[\u3040-\ud7af])+|[A-Z]?[^\W\d_A-Z\u3040-\ud7af]+"
)


def name_words(name: str) -> list[str]:
    """The words and numbers of a name in ASCII: `read-APIKey2` is `read`, `api`, `key`, `2`."""
    return [word.lower() for word in _NAME_WORD.findall(name)]


def words_of_any_script(text: str) -> list[str]:
    """The words of a text in any script, without its numbers."""
    return [word.lower() for word in _WORD.findall(text)]
