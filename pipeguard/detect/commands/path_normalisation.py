"""A path in a value, resolved, whatever the spelling of its steps. Knows no rules.

A line `< path` for a path that is read, `> path` for one that is written, `OFF path` for one whose
file is moved, removed or linked, `ODD path` for one with disguised steps upwards.
Sources: RFC 3986, section 2.1; RFC 3629, section 10, on overlong forms.
"""

import re

from pipeguard.detect.commands.programs import tidy_path
from pipeguard.detect.text.escapes import undo_repeatedly
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.uris import unpercent

_PATH_SIGN = lazy_regex(
    r"""(?ix)\A(?:(?:setup|conftest|sitecustomize|usercustomize|noxfile)\.py|build\.rs|gulpfile\.[cm]?js)\Z
    | \A[\w-]{1,80}\.(?:config\.[cm]?[jt]s|gemspec)\Z
    | [/\\~%] | \.\. | ^\.[a-z] | ^id_(?:rsa|dsa|ecdsa|ed25519)\b
    | \.(?:pem|key|p12|pfx|jks|kdbx|ppk|env|tfstate|ovpn|asc|ya?ml)\Z | ^pipeguard\Z""",
)
_UTF16 = lazy_regex(r"%u([0-9a-fA-F]{4})")
# `.`, `/` and `\` in UTF-8, in more bytes than they need.
_OVERLONG = (
    (lazy_regex(r"(?i)%(?:c0%[2a6e]e|e0%80%ae|f0%80%80%ae|c0%2e)"), "."),
    (lazy_regex(r"(?i)%(?:c0%[2a6e]f|c0%9v|e0%80%af|c1%9c|c0%5c|c1%8s|c1%af)"), "/"),
)
_FILE_SCHEME = lazy_regex(
    r"(?i)(?:view-source:)?(?:file|local_file|netdoc|vscode-file|jar:file):/{0,3}(?:localhost(?=/))?",
)
# A patch by its beginning, in the forms of diff, git and apply_patch, and the files that it names.
_PATCH = lazy_regex(r"\s{0,9}(?:\*\*\* Begin Patch|diff --git |Index: |--- \S)")
_PATCHED = lazy_regex(
    r"(?m)^(?:\*\*\* (?:(?:Add|Update|Delete) File|Move to): |(?:\+\+\+|---) (?:[ab]/)?"
    r"|rename (?:from|to) )([^\t\n]{1,300})"
)
_OTHER_SCHEME = lazy_regex(r"(?i)[a-z][a-z0-9+.-]{1,20}://")


def patch_lines(text: str) -> list[str]:
    """A line `> path` for each file that a patch changes; none for another text."""
    changed = _PATCHED.findall(text) if _PATCH.match(text) else []
    return [f"> {tidy_path(path)}" for path in changed]


def path_lines(raw: str, folded: str, signs: tuple[str, ...] = ("<",)) -> list[str]:
    """The lines for a value that looks like a path; none for another.

    Args:
        raw: the value.
        folded: the value with look-alikes as plain letters.
        signs: of the lines, by what the tool does with the file.
    """
    if not _PATH_SIGN.search(folded) or folded.count("\n") > 2:
        return []
    plain = folded.replace("\u2044", "/").strip()
    if "%" in plain:
        plain = _decode_percents(plain)
    small = plain.lower()
    is_file = "file:" in small or "netdoc:" in small or not plain.isascii()
    foreign = _OTHER_SCHEME.match(_FILE_SCHEME.sub("/", plain) if is_file else plain)
    encoded = plain != raw.strip() and ".." in plain and raw.count("..") < plain.count("..")
    plain = _FILE_SCHEME.sub("/", plain) if is_file and _FILE_SCHEME.match(plain) else plain
    slashed = plain.replace("\\", "/")
    stripped = re.sub(r"\.\.(?:;|%3b)[^/]{0,40}/", "../", slashed)
    stripped = re.sub(r"\.{3,4}/{2,}", "../", stripped)
    cut = re.split(r"\x00|%00", stripped)[0]
    odd = encoded or stripped != slashed or (cut != stripped) or re.search(r"\.\.(?:%|;)", raw)
    if foreign and not (odd and cut.count("../") >= 2):
        return []
    query = re.split(r"[?#]", cut)[0] if foreign else cut
    path = re.sub(r"^/{0,2}[?.]/(?=[A-Za-z]:)|^/(?=[A-Za-z]:/)", "", tidy_path(query[:1000]))
    path = re.sub(r"^/proc/(?:self|\d+|thread-self)/(?:root|cwd)(?=/)", "", path)
    lines = [f"{sign} {path}" for sign in signs]
    if odd and "../" in cut:
        lines.append(f"ODD {path}")
    elif cut != stripped:
        lines.append(f"ODD NUL {path}")
    return lines


def _decode_percents(path: str) -> str:
    for pattern, character in _OVERLONG:
        path = pattern.sub(character, path)
    return undo_repeatedly(
        lambda text: unpercent(_UTF16.sub(lambda m: chr(int(m[1], 16)), text)), path
    )
