"""Changes of a client's file: each server that starts behind PipeGuard still does.

Compares what a change takes away with what it writes, as the starts of servers in both. A change is
`guard` if a launcher of PipeGuard, or an option of one, is lost; and `client` if a server without
one comes in, or if the texts do not show what happens to the launchers.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator

from pipeguard.detect.commands import (
    file_access,
    notations,
    path_normalisation,
    shell_command,
    shell_output,
)
from pipeguard.detect.commands.programs import program_name, tidy_path
from pipeguard.detect.words import arguments, programs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.unicode.name_words import name_words

MAX_PATH = 300  # characters

# -- the files -----------------------------------------------------------------------------------

# Files in which a client has its servers, by their last steps.
_FILES = r"""(?xi:
    [\w.*-]{0,40}mcp[\w.*-]{0,40}\.(?:jsonc?|ya?ml|toml) | mcpServers/[\w.*-]{1,80}\.(?:json|ya?ml)
    | \.?claude\w{0,40}\.json | \.?(?:opencode|crush|kilo)\.jsonc? | librechat\.ya?ml
    | (?:\.kiro|\.?amazonq)/agents/[\w.*-]{1,80}\.json
    | (?:\.[a-z][\w-]{0,30}|User|zed|amp|Witsy)/settings(?:\.local)?\.jsonc?
    | (?:\.(?:codex|continue|grok|vibe)|goose(?:/config)?)/config\.(?:json|ya?ml|toml)
)"""

# How a path of one begins: not in a folder of which no client reads a file, and not as an address.
_PATH = r"""(?x:
    (?!(?:[^\s'"]{0,200}/)?
       (?:te?mp|tests?|testdata|__\w+__|fixtures|examples?|samples?|backups?|bak|archive)/
      |(?!file:)\w{2,20}://)
)"""

# A whole path of one, and one in a text.
_FILE = lazy_regex(rf"{_PATH}(?:.*[/=])?{_FILES}")
_NAMED = lazy_regex(rf"(?<![\w.~$/\\-]){_PATH}/?(?:[\w.~$-]+/{{1,2}})*{_FILES}(?![\w.-])")

# Signs of a text that is no step of a path.
_PROSE = lazy_regex(r"""[\s\x1f'"({]|://""")

# Files that are about servers, unlike settings of other kinds.
_DEDICATED = lazy_regex(r"(?i)mcp|claude\w*\.json|config\.toml")

# -- what they contain ---------------------------------------------------------------------------

# The maps of servers.
_SERVER_MAPS = arguments.alternatives("SERVER_MAPS")
_SERVER_MAP = lazy_regex(rf"(?<![\w-])(?:{_SERVER_MAPS})(?:[./\]]|[\"']?\s*[:=])")

# A key, of which those that start a server and their arguments count; or the head of a table.
_KEY = lazy_regex(
    r"""(?x)(?<![\w.$-])["']?(?:[\w$-]{0,60}\.){0,9}
      (?:(args|command|cmd|url|httpUrl|serverUrl|baseUrl|uri)|[\w$-]{1,80})["']?
      \s*[:=](?=[\s"'\[{]|\Z)
    | (?m:^[\x20\t]*\[+[A-Za-z][^\],\n]*\]+[\x20\t]*$)"""
)

# What is between words in a list.
_PUNCTUATION = lazy_regex(r"""(?:\A|["'\[\]{},\n])(?:[ \t]*-\s)?""")

# What starts PipeGuard in front of a server, one word a line, up to `--`.
_LAUNCHER = r"""(?x:
    (?!/(?:var/)?tmp/|\.)(?:[^\n]*[/\\])?
    (?:pipeguard(?:\.exe)?
      |(?:python|pypy)[\d.]*(?:\.exe)?(?:\n-[bBdEIOPqRsSuvx]+)*\n-m\npipeguard
      |(?:uvx|uv\ntool\nrun|pipx\nrun)
       (?:\n(?:--from|--spec)\n(?:mcp-)?pipeguard[^\n/\\]*)?\npipeguard)
    \n(?:wrap|serve)\n(?:(?!--\n)[^\n]*\n)*(?:--\n)?
)"""
_STARTS_PIPEGUARD = lazy_regex(_LAUNCHER)

# A launcher, or a part of one.
_HEAD = lazy_regex(
    rf"""(?xs){_LAUNCHER}
    | (?=.*?(?:(?i:pipeguard)
        |(?m:^(?:wrap|serve|--|-[EIPm]{{1,3}}|--(?:name|env|isolate|policy|observe|no-audit
            |upstream|header-env|bearer-env|trust))$)))
      (?:(?!(?m:^--$)).)*(?:--)?"""
)

# Words that a change of something else keeps.
_KEPT = lazy_regex(rf"(?<![\w-])(?:command|args|{_SERVER_MAPS})(?![\w-])")

# What lets a launcher's guard do less, or a client ask less.
_WEAK = (
    r"--observe\b|\n--(?:policy|no-audit)\b|bypassPermissions|PIPEGUARD_(?!H\d)"
    r"|XDG_(?:CONFIG|STATE|DATA|CACHE)_HOME|\b(?:HOME|USERPROFILE)[\"']?\s*[:=]"
)
_WEAKENS = lazy_regex(_WEAK)
_NAMES_GUARD = lazy_regex(f"pipeguard|{_WEAK}")

# -- a change ------------------------------------------------------------------------------------

# A place in the map of servers, and encoded content: the text does not show what changes.
_UNSEEN = lazy_regex(
    rf"""(?xm)^(?!\[|\S*[./\"'\]](?:\w*timeout\w*|disabled|enabled|alwaysallow|autoapprove
        |description|env|headers)(?:[./]\w+)?$)
      [^\s:{{]{{0,200}}(?<![\w-])(?:{_SERVER_MAPS})(?![\w:-]|\.json)[^\s:{{]*$
    | ^[\w+][\w+/]{{15,}}={{0,2}}$"""
)

# The middle of a line, which may be of a launcher.
_FRAGMENT = lazy_regex(r"(?m)^\s*[\w/\\][^\n:={]*$")

# A patch; and the sides of a block for search and replace.
_PATCH = lazy_regex(r"(?ms)\s*(?:@@|(?:diff |Index: |--- |\*\*\* )(?=.*^(?:@@|\+\+\+ |\*\*\* )))")
_MARK = lazy_regex(r"[<-]{5,9}(?: ?[A-Z].*)?\Z|={5,9}\Z|[>+]{5,9} ?[A-Z]")

# -- commands and code ---------------------------------------------------------------------------

# Programs that only look at a file, or change how it is laid out.
_READERS = (
    rf"(?:{programs.alternatives('KEEP_SETTINGS')}|\[\[?|\."
    r"|git\n(?:add|commit|diff|log|show|status|blame|ls-files|grep|check-ignore)"
    r"|python[\d.]*\n-m\njson\.tool)"
)
_LOOKS = lazy_regex(
    rf"(?:(?:npx|bunx)\n)?{_READERS}(?:\n|\Z)|(?s:.*)\n--[\w-]*(?:config|settings)[\w-]*[=\n]"
)

# Options by which they do more.
_DOES_MORE = lazy_regex(
    rf"""(?x)(?:sed|g?awk|perl|ruby|yq|sort)\n(?s:.*\n)?
      (?:-\w*[io]|--in-?place|inplace|.*\bw\x20+[/~.])
    | \n-delete | \n(?:-exec|-ok|-x|--exec)\n(?!{_READERS}\n)"""
)

# A script that edits single keys, and none that is of a server.
_EDITS_OTHERS = lazy_regex(
    rf"""(?xs)(?!.*(?:
        (?i:pipeguard|\bcommand|\bargs\b|\benv\b)|\*|\.\.|\[\]|\.\[[^"]|\bwalk|\bdel\b|recurs
        |entries|\bmap|input|\b\d+,?\d*[dacis]\b|(?<![\w-])(?:{_SERVER_MAPS})\b))
    .*\b(?:sed|g?awk|perl|ruby|jq|yq)\s"""
)

# Code that changes a file, and that changes another one.
_CHANGES = lazy_regex(
    r"""(?x)write\w*\( | \.dump\( | ,\s*(?:mode\s*=\s*)?['"][rbt]*[wax+][bt+]*['"]
    | \b(?:os|shutil|fs\w*|promises|Deno|File\w*)["')]*
      \.\w*(?:rename|replace|move|copy|unlink|remove|rm|link|truncate)\w*\(
    | \.(?:rename|unlink|touch|symlink_to|hardlink_to)\( | Set-Content | Out-File"""
)
_CHANGES_OTHER = lazy_regex(
    rf"\b(?:open|Path)\(['\"](?![^'\"]*{_FILES}['\"])[^'\"]+['\"](?:\)\.write\w*|,\s*['\"]w)"
)


def find_client_files(values: list[str]) -> list[str]:
    """The paths of clients' files among values: in one, in several joined, or in a patch."""
    steps = "/".join(value for value in values if not _PROSE.search(value))
    patched = (line[2:] for value in values for line in path_normalisation.patch_lines(value))
    paths = *values, *_NAMED.findall(steps), *patched
    tidied = (tidy_path(path.replace("\\", "/")) for path in paths if len(path) < MAX_PATH)
    return [path for path in tidied if _FILE.fullmatch(path)]


def _read_starts(text: str) -> tuple[Counter[str], Counter[str]]:
    """The launchers of PipeGuard in a text, or parts of one, and the other programs it starts."""
    between = _KEY.split(shell_output.expand_escapes(text))
    starts = [""]  # first the words without a key: a part of a list
    for key, values in zip(["args", *between[1::2]], between[::2], strict=True):
        if not key:
            continue
        if key != "args":
            starts.append("")
        words = map(str.strip, _PUNCTUATION.split(values))
        starts[-1] += "".join(f"{word}\n" for word in words if word)
    heads = filter(None, map(_HEAD.match, starts))
    others = (words for words in starts[1:] if words and not _STARTS_PIPEGUARD.match(words))
    return Counter(head[0] for head in heads), Counter(each.split("\n")[0] for each in others)


def compare_starts(old: str, new: str, *, is_shared: bool) -> list[str]:
    """The line `OFF guard` or `OFF client` for a change of a client's file; none for another.

    Args:
        old: the text that it replaces; empty if it writes the whole file, or only adds.
        new: the text that it writes.
        is_shared: True if the file has more than servers.
    """
    before, others_before = _read_starts(old)
    after, others = _read_starts(new)
    if before - after or _adds(_WEAKENS, "\n\n".join((old, *before)), "\n\n".join((new, *after))):
        return ["OFF guard"]
    is_open = others - others_before and not (is_shared and not _SERVER_MAP.search(new))
    is_cut = not all(map(_STARTS_PIPEGUARD.match, after - before)) or _adds(_KEPT, new, old)
    return ["OFF client"] if is_open or is_cut else []


def _adds(words: re.Pattern[str], old: str, new: str) -> bool:
    """True if a text has more of these words than the other."""
    return bool(Counter(words.findall(new)) - Counter(words.findall(old)))


def judge_call(tool: str, values: JsonValue, files: list[str]) -> list[str]:
    """The line for what a call does to the clients' files that it names."""
    names = [tool, *values] if isinstance(values, dict) else [tool]
    words = {*name_words(" ".join(names))}
    lines = [each for key, text in _find_strings("", values) for each in _edited_lines(key, text)]
    if not words & arguments.CHANGES and (words & arguments.LOOKS or not lines):
        return []
    old = "\n".join(line for sign, line in lines if sign in "- ")
    new = "\n".join(line for sign, line in lines if sign in "+ ")
    is_shared = not any(map(_DEDICATED.search, files))
    is_by_line = not (old or "insert" in words or words.isdisjoint(arguments.BY_LINE))
    is_cut = not is_shared and (is_by_line or _FRAGMENT.search(old))
    is_unseen = is_cut or not lines or _UNSEEN.search(f"{old}\n{new}")
    change = compare_starts(old, new, is_shared=is_shared)
    return ["OFF client"] if is_unseen and not change else change


def _find_strings(name: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """The strings of a call by their names, without other files; what a file gets as JSON."""
    value = notations.parse_json(value) or value if isinstance(value, str) else value
    if isinstance(value, list):
        for each in value:
            yield from _find_strings(name, each)
    elif isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
        keys = {key.lower() for key in value}
        names_ours = not name or _NAMED.search(text)
        is_edit = names_ours or keys & arguments.EDITING
        if name and (value.keys() & arguments.SERVER_MAPS or not is_edit):
            yield name, text
        elif names_ours or "op" in keys or not keys & arguments.FILE:
            for key, each in value.items():
                yield from _find_strings(key.lower(), each)
    elif (
        isinstance(value, str)
        and name not in arguments.NO_CONTENT
        and not _FILE.fullmatch(value.replace("\\", "/"))
    ):
        yield name, value


def _edited_lines(key: str, text: str) -> Iterator[tuple[str, str]]:
    """Each line of a text or a patch; `-` if the change takes it away, `+` if it writes it."""
    sign = "-" if key in arguments.REPLACED | arguments.LOOKED_FOR else "+"
    is_patch = _PATCH.match(text)
    for line in text.split("\n"):
        if mark := _MARK.match(line):
            sign = "-" if mark[0][0] in "<-" else "+"
        elif not (is_patch and line[:1] in "+-@* "):
            yield sign, line
        elif line[:4] not in ("--- ", "+++ "):
            yield line[:1] or " ", line[1:]


def judge_command(command: shell_command.ShellCommand, files: file_access.FileAccess) -> list[str]:
    """The line for what a command does to the clients' files that it names."""
    name = program_name([*command.words, ""][0])
    operands = command.words[1:]
    text = "\n".join((name, *operands))
    if _LOOKS.match(text) and not _DOES_MORE.search(text):
        operands = []
    elif name in programs.LAST_IS_TARGET:
        there = [f"{operands[-1]}/{each.rpartition('/')[2]}" for each in operands]
        operands = (operands if name in programs.MOVES else operands[-1:]) + there
    operands += [target for sign, target in command.redirects if sign in (">", ">>")]
    changed = find_client_files([*map(files.resolve, operands)])
    if not changed:
        return []
    is_shared = not any(map(_DEDICATED.search, changed))
    if (written := shell_output.find_output([command])) is not None:
        return compare_starts("", written, is_shared=is_shared)
    # Perhaps it moves to its place what a command before it wrote.
    if is_shared and _EDITS_OTHERS.match("\n".join((*files.lines[-9:], text))):
        return []
    return ["OFF guard" if _NAMES_GUARD.search(text) else "OFF client"]


def judge_code(text: str) -> list[str]:
    """The line for what a program in another language does to the clients' files that it names."""
    if _CHANGES.search(_CHANGES_OTHER.sub("", text)) and _NAMED.search(text):
        return ["OFF guard" if "pipeguard" in text else "OFF client"]
    return []
