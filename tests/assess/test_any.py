"""Whatever a client's file contains, every check and every report finishes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.assess.assessing import assess, report
from pipeguard.assess.target import of_machine, of_repository
from pipeguard.clients.machine import Machine
from tests.assess.test_reports import FORMS
from tests.files import write_file
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import engines

LINE = (
    "npx -y @ @a a@ uvx --from git+ git+https://[::1 http://[ http://[::1]:99999/ https://u:p@h:x/ "
    "sh -c ' docker run : a: @sha256: -- wrap pipeguard --upstream ${X} $( \ud800 \u202e 0.0.0.0 "
    "--host - --listen= go deno npm exec % C:\\x env = A= --header --name --upstream=${U}/m"
)
WORDS = st.sampled_from(LINE.split()) | st.text(max_size=8)
VALUES = st.none() | st.booleans() | st.floats() | WORDS | st.lists(WORDS | st.none(), max_size=3)
PAIRS = st.dictionaries(WORDS, VALUES, max_size=3)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "command": WORDS | VALUES,
        "args": st.lists(WORDS, max_size=6) | VALUES,
        "env": PAIRS | VALUES,
        "headers": PAIRS | VALUES,
        "url": WORDS | VALUES,
        "type": VALUES,
        "cwd": VALUES,
        "trust": VALUES,
        "alwaysAllow": VALUES,
    },
)


@pytest.mark.parametrize("name", [".cursor/mcp.json", ".mcp.json", ".crush.json"])
@tried(25)
@given(servers=st.dictionaries(WORDS, ENTRIES, max_size=3))
def test_every_file_is_assessed(
    tmp_path_factory: pytest.TempPathFactory, name: str, servers: dict[str, object]
) -> None:
    root = tmp_path_factory.mktemp("any")
    write_file(root / name, json.dumps({"mcpServers": servers, "mcp": servers}))
    machine = Machine("linux", root, {}, root)
    for target in (of_machine(machine, engines()), of_repository(root, machine, engines())):
        assessment = assess(target)
        for form in FORMS:
            report(form, assessment).encode()
