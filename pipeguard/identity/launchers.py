"""Tables of the programs that start servers in clients' configurations: launchers.txt."""

from __future__ import annotations

from os.path import dirname

from pipeguard.detect.words import Words

_WORDS = Words("launchers", dirname(__file__))
_BY_PROGRAM: dict[str, dict[str, tuple[str, ...]]] = {}  # the words of the tables `KIND:PROGRAM`
for _name, _words in _WORDS.tables().items():
    _kind, _colon, _program = _name.partition(":")
    if _colon:
        _BY_PROGRAM.setdefault(_kind, {})[_program] = _words

# The programs, with their options whose value is not the server.
STARTERS = {**dict.fromkeys(_WORDS.in_order("STARTERS"), ()), **_BY_PROGRAM["values"]}
FOLDERS = _BY_PROGRAM["folders"]
SOURCES = _BY_PROGRAM["sources"]
PACKAGES = _BY_PROGRAM["packages"]
CODE = _BY_PROGRAM["code"]
REGISTRIES = {
    program: registry
    for registry, programs in _BY_PROGRAM["registry"].items()
    for program in programs
}
FETCHING = {
    tuple(program_and_verb.split("/")): registry
    for registry, programs in _BY_PROGRAM["fetching"].items()
    for program_and_verb in programs
}
STARTED_BY_PATH = {"npx-cli.js": "npx", "npm-cli.js": "npm"}
MOUNTS = _WORDS.MOUNTS
PROJECTS = _WORDS.PROJECTS
TARGETS = _WORDS.TARGETS
SCRIPTS = _WORDS.SCRIPTS
CONTAINERS = _WORDS.CONTAINERS
ELSEWHERE = _WORDS.ELSEWHERE
SHELLS = _WORDS.SHELLS
VERBS = _WORDS.VERBS
CONTAINER_VERBS = _WORDS.CONTAINER_VERBS
PROJECT_VERBS = _WORDS.PROJECT_VERBS
MODULES = _WORDS.MODULES
PROGRAM_ENDINGS = _WORDS.PROGRAM_ENDINGS
SCRIPT_ENDINGS = _WORDS.SCRIPT_ENDINGS
INTERPRETERS = _WORDS.INTERPRETERS
SHELLS_OF_WINDOWS = _WORDS.SHELLS_OF_WINDOWS
BASES = _WORDS.BASES
LEADING = _WORDS.LEADING
TRANSPARENT = _WORDS.TRANSPARENT
TOOLS_OF_A_PROJECT = _WORDS.TOOLS_OF_A_PROJECT
SETTINGS = _WORDS.SETTINGS
SAY_LITTLE = _WORDS.SAY_LITTLE
