"""Whatever stands in a client's file, every check and every report comes to its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeguard.assess.assessing import assess
from pipeguard.assess.reporting import report
from pipeguard.assess.target import of_machine, of_repository
from pipeguard.clients.machine import Machine
from tests.assess.test_reports import FORMS
from tests.fuzz.rulebook import engines

EXAMPLES = 150
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
@settings(
    max_examples=EXAMPLES // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(servers=st.dictionaries(WORDS, ENTRIES, max_size=3))
def test_every_file_is_assessed(tmp_path: Path, name: str, servers: dict[str, object]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"mcpServers": servers, "mcp": servers}))
    machine = Machine("linux", tmp_path, {}, tmp_path)
    for target in (of_machine(machine, engines()), of_repository(tmp_path, machine, engines())):
        assessment = assess(target)
        for form in FORMS:
            report(form, assessment).encode()
