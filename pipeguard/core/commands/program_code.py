"""What a program in another language than a shell's hands to a shell, and which files it opens.

Reads no grammar of any language: only calls by the names that such functions have in Python,
JavaScript, Ruby, PHP, Perl and AppleScript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeguard.core.commands.programs import tidy
from pipeguard.core.lazy_regex import lazy_regex

# A function that opens a file, the home folder before it, the path, and a mode that writes.
_OPENS_FILE = lazy_regex(
    r"\b(open|path|read_?text|read_?bytes|readfile(?:sync)?|writefile(?:sync)?|appendfile(?:sync)?|"
    r"createreadstream|file_get_contents|file_put_contents|fopen|readlines|file\.read|io\.open|"
    r"copy(?:file|2)?|expanduser|slurp|readalltext|filereader|load)\s{0,2}\(\s{0,2}"
    r"((?:process\.env\.HOME|os\.homedir\(\)|os\.environ\[['\"]HOME['\"]\]|home)\s{0,2}[+,]\s{0,2})?"
    r"[rbfu]{0,2}['\"`]([~/.][^'\"`\n]{1,200})['\"`](\s{0,2},\s{0,2}['\"][wa])?",
    re.IGNORECASE,
)
_WRITERS = ("writeFileSync", "writeFile", "appendFileSync", "appendFile", "file_put_contents")
_STRING = lazy_regex(r"'((?:[^'\\]|\\.){0,4000})'|\"((?:[^\"\\]|\\.){0,4000})\"")
# A function that runs a script or a list of words; a script in backticks; one of AppleScript.
_CALLS_SHELL = lazy_regex(
    r"(?:\b(?:system|popen[234]?|exec(?:sync|file(?:sync)?|[lv]p?e?)?|spawn(?:sync)?|run|call|"
    r"check_(?:call|output)|popen|shell_exec|passthru|proc_open|getoutput|getstatusoutput|"
    r"create_subprocess_shell|command|start|invoke|sh|bash)\s{0,4}\(\s{0,4}[rbfu]{0,2}"
    r"(?:(['\"]{1,3})((?:[^'\"\\\n]|\\.|(?!\1)['\"]){1,4000}?)\1|\[([^\]\n]{1,4000})\])"
    r"|(?<![\w`])`([^`\n]{2,2000})`|\bdo shell script\s{1,4}\"((?:[^\"\\]|\\.){1,4000})\")",
    re.IGNORECASE,
)


def shell_calls(text: str) -> Iterator[str | list[str]]:
    """Each script, or list of words, that a program has run."""
    for match in _CALLS_SHELL.finditer(text):
        script = match[2] or match[4] or match[5]
        if match[3] is not None:
            yield [single or double for single, double in _STRING.findall(match[3])]
        elif script:
            yield script.replace("\\'", "'").replace('\\"', '"')


def opened_file_lines(text: str) -> Iterator[str]:
    """A line `< path` or `> path` for each file that a program opens by its name."""
    for match in _OPENS_FILE.finditer(text):
        function, home, name, mode = match.groups()
        is_writing = function in _WRITERS or bool(mode)
        yield f"{'>' if is_writing else '<'} {tidy(('~' if home else '') + name)}"
