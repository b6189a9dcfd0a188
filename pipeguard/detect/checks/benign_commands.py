"""Checks for everyday commands among those that could do harm.

They read the lines that detect.commands.effects makes of a command: `$ command words`, with the
byte 0x1F for a blank inside a word. Knows lines, and no rule; the words are in
detect.words.benign_commands.
"""

import re
from collections.abc import Callable

from pipeguard.detect.checks.outcome import AROUND, Check, Checks
from pipeguard.detect.words import benign_commands as words
from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex

_ADDRESS = lazy_regex(rb"https?://([^/\s|;&\"'?#]{1,200})(/[^\s|;&\"']{0,200})?")
# A part of a name, without letters on either side: of a throwaway thing.
_DISPOSABLE = lazy_regex(
    rf"(?:^|[^a-z])(?:{words.alternatives('DISPOSABLE')})(?=$|[^a-z/])".encode(),
    re.IGNORECASE,
)
# Before a command whose output logs in with it.
_LOGIN = lazy_regex(
    rf"(?:(?:{credentials.alternatives('SCHEMES')}|authorization:|private-token:|x-[a-z-]{{2,24}}:)\x1f?"
    r"|(?:^|[\s\x1f])(?:[A-Za-z_]\w{0,40}=|"
    rf"--?(?:{credentials.alternatives('OPTIONS')})[= ]\w{{0,30}}:?))\Z".encode(),
    re.IGNORECASE | re.MULTILINE,
)
_LOGIN_BYTES = 64  # before a command that are read for it
# A command that may print a variable, or the text it gets in a here-document.
_TELLS = lazy_regex(
    rf"(?im)^(?:< ENV|\$ (?:{words.alternatives('TELL')})\b|CODE [^\n]*env(?:iron)?\b)".encode()
)
_PRINTING = lazy_regex(rb"kubectl.* (?:-o|--output|--template)")
_FIELD = r"\.?(?:metadata\.(?:name|namespace|uid|creationTimestamp)|type|kind)"
_COLUMN = rf"[\w-]{{1,40}}:{_FIELD}"
_IN_PATH = (  # of one item or all
    rf"\{{(?:{_FIELD}|\.items\[\*\]{_FIELD}|range\x1f\.items\[\*\]|end|\"[^\"{{}}\n]{{0,8}}\")\}}|[^{{}}\s]"
)
_KUBECTL_WORDS = r"(?>(?>(?:\x20(?!-o|--output|--template)\S+){1,500})*)"
_AWS_WORDS = r"(?>(?>(?:\x20(?!--q)\S+){1,500})*)"
_JQ_NAMES = (  # a filter for the names or the number of members
    r"(?:[.\w\[\]\"-]*\x1f?\|\x1f?)*(?:keys(?:_unsorted)?(?:\[\])?|length|map_values\(length\)"
    r"|(?:to_entries\[\]\x1f?\|\x1f?)?\.key|[.\w\[\]]*\.(?:metadata\.name|type|kind))"
)
# Lines of commands that print names, a value that is asked for by its name, or only their help; or
# whose output a program takes that logs in with it, or stores it where it belongs.
_NAMES = lazy_regex(
    rf"""(?x)
    \$\x20(?:kubectl|vault)\x20[^|]*\x20\|\x20\$\x20
      (?:jq(?:\x20-\w+)*\x20{_JQ_NAMES}|wc\x20-[lc]|grep\x20-c\x20\S+)
    | \$\x20kubectl{_KUBECTL_WORDS}\x20(?:-o|--output)[\x20=]?
      (?:name|wide|custom-columns={_COLUMN}(?>(?>(?:,{_COLUMN}){{1,500}})*)|jsonpath=(?>(?>(?:{_IN_PATH}){{1,500}})+)){_KUBECTL_WORDS}
    | \$\x20kubectl(?:\x20(?!-o|--output|--template|\|)\S+){{1,40}}\x20(?:-o|--output)[\x20=]?
      jsonpath=\{{\.data\.[\w.\\-]+\}}(?:\x20-n\x20\S+)?
      (?:\x20\|\x20\$\x20base64\x20(?:-d|-D|--decode)(?:\x20\|\x20\$\x20openssl\x20x509\x20-noout[^|]*)?)?
    | [^|]*\x20\|\x20\$\x20(?:(?:docker|podman|helm)\x20[^|]*login\x20[^|]*-stdin[^|]*
      |kubectl\x20apply\x20-f\x20-)
    | \$\x20etcdctl\x20get\x20\S+(?:\x20--prefix)?\x20--keys-only
    | \$\x20(?:aws|az){_AWS_WORDS}\x20--query\x20
      (?:(?:Parameters?(?:\[\*?\])?\.)?(?:Name|ARN|Type|Version(?:Id)?|CreatedDate)
        |id|name|attributes(?:\.\w+)?|\[\]\.keyName){_AWS_WORDS}
    | \$\x20lpass\x20show\x20--(?:name|username|id|url)\x20\w\S*
    | \$\x20[\w.-]+(?:\x20\w[\w./:-]*){{1,4}}\x20(?:--help|-h)
    | \$\x20aws(?:\x20[a-z][a-z-]*){{2}}\x20help""".encode()
)
# Options that give a package manager an index, with one that it uses anyway; and others that may
# lead elsewhere.
_USUAL_INDEX = lazy_regex(
    r" (?:--(?:(?:extra-)?index(?:-url)?|registry|source|add|trusted-host)|-[ais]|registry)[ =]"
    rf"(?:{words.alternatives('INDEXES')}|sparse\+https://index\.crates\.io)/?(?= |\Z)".encode(),
    re.IGNORECASE,
)
_ELSEWHERE = lazy_regex(
    rb"(?i)[$`\\:]|//"
    rb"| (?:--(?:extra-index|index|registry|source|add|find|trusted|git)|-[aifs]|registry)",
)


def is_installer(text: bytes) -> bool:
    """True if every address is that of an installer published by its project."""
    addresses = _ADDRESS.findall(text.lower())
    return bool(addresses) and all(
        host.decode("latin-1") in words.INSTALLER_HOSTS
        or (host + path).decode("latin-1").startswith(words.in_order("INSTALLER_PATHS"))
        for host, path in addresses
    )


def is_login(command: bytes, lines: bytes) -> bool:
    """True if a command's output only goes into a header, an option or a variable.

    Args:
        command: its line, or the beginning of it.
        lines: those around it, in one of which it is written as `$(command)`. Of a variable that
            no other command prints, it is in a line that begins with `=`.
    """
    argument = command.strip().removeprefix(b"$ ").rstrip(b" ").replace(b" ", b"\x1f")
    inner = re.compile(rb"(?:\$\(|`)" + re.escape(argument), re.IGNORECASE)
    starts = [match.start() for match in inner.finditer(lines)]
    before = [lines[max(0, at - _LOGIN_BYTES) : at].rpartition(b"\n")[2] for at in starts]
    is_told = any(each.startswith(b"= ") for each in before) and _TELLS.search(lines)
    return bool(starts) and not is_told and all(map(_LOGIN.search, before))


def shows_names(command: bytes, lines: bytes) -> bool:
    """True if a command prints only names, one value by its name, or its help; or nothing.

    A command that prints the values may take names of Kubernetes objects.

    Args:
        command: its line, or the beginning of it.
        lines: those around it; the last may be cut off.
    """
    beginning = command.strip()
    whole = [
        line
        for line in lines.split(b"\n")[:-1]
        if line.startswith(beginning) or (b"kubectl" in beginning and _PRINTING.search(line))
    ]
    return bool(whole) and all(map(_NAMES.fullmatch, whole))


def has_usual_index(command: bytes, lines: bytes) -> bool:
    """True if a package manager's only special option is the index that it uses anyway.

    Args:
        command: its line, or the beginning of it.
        lines: those around it; the last may be cut off.
    """
    whole = [line for line in lines.split(b"\n")[:-1] if line.startswith(command.strip())]
    others = [_USUAL_INDEX.sub(b"", line) for line in whole]
    return bool(others) and not any(
        other == line or _ELSEWHERE.search(other, 1)
        for other, line in zip(others, whole, strict=True)
    )


def _lacks(holds: Callable[[bytes, bytes], bool]) -> Check:
    """Make a check of a match and its surroundings, which FAILS if a test holds of them."""
    return lambda text: not holds(*text.partition(AROUND)[::2])


CHECKS: Checks = {
    "around-not-login": _lacks(is_login),
    "around-not-usual-index": _lacks(has_usual_index),
    "around-shows-values": _lacks(shows_names),
    "installer": is_installer,
    "not-disposable": lambda line: _DISPOSABLE.search(line) is None,
    "not-installer": lambda text: not is_installer(text),
}
