"""Lines for a value that is not a command: a path, an option, or a smuggled command or quote.

A line `OPT --x` for an option, `DASH --x` for an option given as a path or a name, `INJ text` for a
value that continues as a command, lines for a value that may continue as a statement
(detect.commands.sql), and lines for paths (detect.commands.path_normalisation). Knows no rules.
"""

from collections.abc import Iterator

from pipeguard.detect.commands import (
    argument_roles,
    interpret,
    path_normalisation,
    shell_command,
    sql,
)
from pipeguard.detect.text.document import is_text
from pipeguard.detect.words import arguments as lists
from pipeguard.detect.words import programs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode import folding

MAX_VALUE = 1500  # characters that are read at a time
VALUE_OVERLAP = 300  # of these that are read twice
MAX_VALUE_LINES = 3  # of a value that is put into a command or a statement; more is a document
# A program on one line has a bracket or the end of a statement in so many characters.
CODE_SHARE = 50

OPTION = lazy_regex(r"--?[A-Za-z][\w-]{0,40}")
# A condition in a language of its own, as a tracker or a log has one.
CONDITION = lazy_regex(
    r"(?i)\s{0,4}(?:not\s)?\(?\s{0,4}[A-Za-z_][\w.\[\]\"-]{0,60}\s{0,4}"
    r"(?:!?=|!?~|<|>|:|\b(?:in|not in|is|like|eq|ne|gt|ge|lt|le|contains|between|was)\b)",
)
STATEMENT = lazy_regex(rf"(?i)\s*(?:{programs.alternatives('STATEMENT_WORDS')}|db\.)\b")
_LATER_OPTION = lazy_regex(r"(?<=\s)(--?[A-Za-z][\w-]{2,40}[= ]?\S{0,200})")
# Dashes before an option and bars between commands, which prose needs as they are.
_SIGNS = dict.fromkeys("‒–—―−", "-") | {"\u2223": "|", "\u01c0": "|"}
# Letters that look alike in small words only, as in a command's name.
_LATIN = str.maketrans(
    "\u043a\u0442\u043c\u043d\u0432\u044c\u043f\u0433\u0438\u0431\u0437", "ktmhbbnru63"
)
_LOOKS_LATIN = [*map(chr, _LATIN)]
_FOREIGN_WORD = lazy_regex(r"[\w.-]{0,40}[^\W\d_a-zA-Z][\w.-]{0,40}")
_OPTIONS = "args", "flags", "options", "opts"  # at the end of a name, as `goflags`
_PATH_SIGN = lazy_regex(r"[/\\~%.]|id_|pipeguard")
_SHELL_SIGN = lazy_regex(r"[;&|`$<\n]|%0")
# A value that continues as a statement has a quote, an end, a comment, a sign that compares, or one
# of a few words.
_STATEMENT_SIGN = lazy_regex(
    r"['\"`;=#(<]|--|\|\||(?i:[0-9] (?:or|and|xor) |union|select|waitfor|case|having|order by)"
)


_PREFIX = r"(?:sudo\s{1,4})?(?:/(?:usr/)?(?:local/)?s?bin/)?"
_SURE = f"(?:{programs.alternatives('SURELY_PROGRAMS')})"
_PERHAPS = f"(?:{programs.alternatives('PERHAPS_PROGRAMS')})"
_PROGRAM = f"{_PREFIX}(?:{_SURE}|{_PERHAPS})"
# Commands in the value of an argument.
_INJECTED = lazy_regex(
    rf"""(?ix)
    # After a separator: a sure name, or another one with an argument that no prose has,
    (?:[;\n]|&&?|\|\|?|%0a)\s{{0,8}}{_PREFIX}(?:{_SURE}(?:\s|[;&|>\"'\#)]|\Z)
      |{_PERHAPS}(?:\s|%20){{1,4}}
       (?:-|/|~|\$|\.{{1,2}}/|>|<|[^\s|]{{0,60}}[/$>]|\d{{1,4}}(?:\s|;|\Z|\#)
         |[\w-]{{1,60}}\.[\w.-]{{1,60}}))
    # or another one at the end.
    | (?:;|&&|\|\|?|&)\s{{0,4}}{_PREFIX}(?:id|ls|env|whoami|reboot|halt|ps|w|dir|set|shutdown)
      \s{{0,4}}(?:\Z|[;&\#>]|\|\s{{0,4}}\w)
    # In a substitution, or between backquotes.
    | \$\(\s{{0,4}}{_PROGRAM}(?:[\s)<>|;$]|\Z)
    | (?:[^\s`]`|`\s{{0,4}}(?=[^`]{{0,200}}[\s>|;$]))\s{{0,4}}{_PROGRAM}
      (?:\s{{1,4}}[^`\s]{{0,80}}[-/$.>|;]|[`>|;$<])
    | \$\{{?IFS | <\(\s{{0,4}}\w{{2,12}}\s | \$\(\([^)\n]{{0,40}}\)\)\s{{0,4}}[;|&]
    | \A\s{{0,4}}(?:print\s|echo\s)?`\s{{0,4}}{_PROGRAM}(?:\s[^`\n]{{0,80}})?`\s{{0,4}}\Z
    # After the end of a string.
    | '\s{{0,4}}[;&|]{{1,2}}\s{{0,4}}{_PROGRAM}\s""",
)


_CODE_SPAN = lazy_regex(r"(`{1,2})[^`\n]{1,400}\1")


def injects_command(value: str) -> bool:
    """True if a value continues as a command."""
    return _INJECTED.search(value) is not None


def fold_value(value: str) -> str:
    """A value with look-alikes as plain letters, including those in a word of another script."""
    if value.isascii():
        return value
    for sign, alike in _SIGNS.items():  # `translate` would look up each letter of a long text
        value = value.replace(sign, alike)
    plain = folding.fold(value.encode("utf-8", "replace"))[0].decode()
    if plain.isascii() or not any(letter in plain for letter in _LOOKS_LATIN):
        return plain
    # A word that can be read as one in ASCII letters is one.
    return _FOREIGN_WORD.sub(
        lambda word: read if (read := word[0].translate(_LATIN)).isascii() else word[0], plain
    )


def read_value(
    tool: str | None, key: str, value: str, budget: shell_command.ScriptBudget
) -> list[str]:
    """The lines of a value.

    Args:
        tool: whose argument it is; None if unknown.
        key: the argument's name, in small letters.
        value: the value.
        budget: the message's.
    """
    if len(value) > MAX_VALUE:
        return list(_read_long_value(tool, key, value, budget))
    plain = fold_value(value)
    lines = []
    if _PATH_SIGN.search(plain):
        lines += path_normalisation.path_lines(value, plain, argument_roles.path_signs(tool, key))
    if key in lists.ONE_PROGRAM:
        lines += interpret.code_lines(plain, budget=budget)
    if "-" in plain:
        lines += read_options(key, plain)
    if plain.count("\n") > MAX_VALUE_LINES:
        return lines
    lines += _read_statement(tool, key, plain)
    if _SHELL_SIGN.search(plain) and injects_command(plain):
        lines.append(f"INJ {' '.join(plain.split())}")
        lines += interpret.command_lines(plain, budget=budget)
    return lines


def read_field(
    tool: str | None, key: str, value: str, budget: shell_command.ScriptBudget
) -> list[str]:
    """The lines of a value in a list or an object: none for a text, or for code that it quotes."""
    lines = read_value(tool, key, value, budget)
    if not lines or not is_text(plain := _CODE_SPAN.sub("_", value)):
        return lines
    return [] if plain.strip().count("\n") > 1 else read_value(tool, key, plain, budget)


def read_token(token: str) -> list[str]:
    """The lines of a path or an option in a text."""
    value = fold_value(token)
    options = [f"OPT {value}"] if OPTION.match(value) else []
    return (
        options
        + path_normalisation.path_lines(token, value)
        + path_normalisation.patch_lines(token)
    )


def _read_long_value(
    tool: str | None, key: str, value: str, budget: shell_command.ScriptBudget
) -> Iterator[str]:
    """The lines of a long value, part by part; none for a document, which is read as one."""
    if value.count("\n") > MAX_VALUE_LINES or not any(map(str.isspace, value)):
        return
    found = _read_statement(tool, key, fold_value(value))
    yield from (line for line in found if line.startswith("OUT ") and not _is_program(line))
    for at in range(0, len(value), MAX_VALUE - VALUE_OVERLAP):
        part = value[at : at + MAX_VALUE]
        for line in read_value(tool, key, part.lstrip("-") if at else part, budget):
            if not line.startswith("OUT ") and not (line.startswith("VAL ") and _is_program(part)):
                yield line


def _is_program(text: str) -> bool:
    """True for a program on one line."""
    return CODE_SHARE * sum(map(text.count, "{};")) > len(text)


def read_options(key: str, value: str) -> list[str]:
    """The lines of values that a program would take for its options."""
    if value.startswith("-"):
        if not OPTION.match(value) or key in lists.OPTION_LISTS or key.endswith(_OPTIONS):
            return []
        return [f"{'DASH' if key in lists.DASHLESS else 'OPT'} {' '.join(value.split())}"]
    if " -" in value and "\n" not in value:
        return [f"OPT {match[1]}" for match in _LATER_OPTION.finditer(value)]
    return []


def _read_statement(tool: str | None, key: str, value: str) -> list[str]:
    if (key in lists.CONDITIONS and CONDITION.match(value)) or not _STATEMENT_SIGN.search(value):
        return []
    is_whole = STATEMENT.match(value) is not None and argument_roles.is_of_database(tool)
    return sql.read_statements(value) if is_whole else sql.breakout_lines(value)
