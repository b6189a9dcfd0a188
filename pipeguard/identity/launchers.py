"""Tables of the programs that start servers in clients' configurations: launchers.txt.

`WORDS` has the tables that are sets of words; those by program are below.
"""

from os.path import dirname

from pipeguard.detect.words import Words

WORDS = Words("launchers", dirname(__file__))
_BY_PROGRAM: dict[str, dict[str, tuple[str, ...]]] = {}  # the words of the tables `KIND:PROGRAM`
for _name, _words in WORDS.tables().items():
    _kind, _, _program = _name.partition(":")
    _BY_PROGRAM.setdefault(_kind, {})[_program] = _words

# The programs, with their options whose value is not the server.
STARTERS = {**dict.fromkeys(WORDS.in_order("STARTERS"), ()), **_BY_PROGRAM["values"]}
FOLDERS = _BY_PROGRAM["folders"]
SOURCES = _BY_PROGRAM["sources"]
PACKAGES = _BY_PROGRAM["packages"]
CODE = _BY_PROGRAM["code"]
HARMLESS = _BY_PROGRAM["harmless"]
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
