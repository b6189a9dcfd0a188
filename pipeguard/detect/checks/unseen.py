"""Finds invisible characters that no script or picture needs.

Joiners connect letters of Arabic and Indic scripts and parts of emoji, variation selectors follow
symbols and ideographs, a zero-width space ends a word where a script has no spaces, marks of
direction are used among letters that are written from the right. Anywhere else they are there to
hide something. Works on UTF-8 bytes. Sources: Unicode Standard, chapters 9, 12-18 and 23; UTS 51.
"""

import unicodedata

from pipeguard.detect.checks.outcome import AROUND, Checks, Outcome
from pipeguard.firewall.lazy_regex import lazy_regex

_FLAG = lazy_regex("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_JOINER = lazy_regex("[\u200c\u200d]")
_SELECTOR = lazy_regex("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Scripts whose letters join or stack: Arabic to Khmer and Mongolian, and their families.
_JOINING = lazy_regex(
    "[\u0600-\u109f\u1780-\u18af\u1900-\u1aaf\u1b00-\u1c4f\ua800-\ua8ff\ua930-\uaaff\uabc0-\uabff"
    "\ufb50-\ufdff\ufe70-\ufeff\U00010a00-\U00011fff]"
)
# Scripts that put no space between words.
_WITHOUT_SPACES = lazy_regex(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u1aaf\u1b00-\u1b7f\u3000-\u9fff\ua980-\uaadf"
    "\uac00-\ud7af\uff00-\uff9f\U00020000-\U0003ffff]"
)
_RIGHT_TO_LEFT = lazy_regex(
    rb"[\xd6-\xdf][\x80-\xbf]|\xe0[\xa0-\xa3][\x80-\xbf]|\xef(?:\xac[\x9d-\xbf]|[\xad-\xb7][\x80-\xbf]|"
    rb"\xb9[\xb0-\xbf]|\xba[\x80-\xbf]|\xbb[\x80-\xbc])|\xf0(?:\x90[\xa0-\xbf]|\x9e[\xa0-\xbb])"
)
_DIRECTION_MARKS = lazy_regex(rb"\xd8\x9c")  # is in the block of Arabic, and no letter
_HANGUL = lazy_regex("[\u1100-\u115e\u1161-\u11ff\u3131-\u3163\u3165-\u318e\uffa1-\uffdc]")
# The characters that each other one is written among.
_NEIGHBOURS = (
    (lazy_regex("\u200b"), _WITHOUT_SPACES),
    (lazy_regex("[\u115f\u1160\u3164\uffa0]"), _HANGUL),
    (lazy_regex("[\u17b4\u17b5]"), lazy_regex("[\u1780-\u17ff]")),
    (lazy_regex("[\u180b-\u180f]"), lazy_regex("[\u1810-\u18aa]")),
    (lazy_regex("\u2800"), lazy_regex("[\u2801-\u28ff]")),
)
_UNSEEN = lazy_regex(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u2800"
    "\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


def has_unneeded(text: str) -> bool:
    """True if a text has an unseen character that its neighbours do not need.

    If the text begins with such a character, only the text after it decides.
    """
    text = _FLAG.sub("\U0001f3f4", text)
    return any(
        not _is_needed(
            at[0], text[max(0, at.start() - 1) : at.start()], text[at.end() : at.end() + 1]
        )
        for at in _UNSEEN.finditer(text)
    )


def _is_needed(character: str, before: str, after: str) -> bool:
    """True for a character that its neighbours need; a neighbour is empty if unknown."""
    if _JOINER.match(character):
        return any(map(_JOINING.match, (before, after))) or (
            character == "\u200d" and all(map(_is_picture, (before, after)))
        )
    if _SELECTOR.match(character):
        is_symbol = unicodedata.category(before or "x") in ("Lo", "Sm", "Po", "No")
        return _is_picture(before) or (is_symbol and not before.isascii())
    if character == "\ufeff":
        return before in ("", "\n")
    if character == "\u00ad":
        return before.isalpha() and after.isalpha()
    if character == "\u034f":
        return any(unicodedata.category(beside) == "Mn" for beside in (before, after) if beside)
    return any(
        kind.match(character) and any(map(wanted.match, (before, after)))
        for kind, wanted in _NEIGHBOURS
    )


def _is_picture(character: str) -> bool:
    """True for a symbol, a part of an emoji, and an unknown neighbour."""
    if not character or character in "0123456789#*\ufe0f\u2139\u3030":
        return True
    return unicodedata.category(character) in ("So", "Sk", "Sc")


def _without_right_to_left(text: bytes) -> Outcome:
    """HOLDS if no letter is written right to left; run on a match and its surroundings."""
    around = _DIRECTION_MARKS.sub(b"", text.partition(AROUND)[2])
    return _RIGHT_TO_LEFT.search(around) is None


CHECKS: Checks = {
    "around-without-right-to-left": _without_right_to_left,
    "unseen-without-need": lambda secret: has_unneeded(secret.decode("utf-8", "ignore")),
}
