"""The examples of docs/organisation.md, run as an administrator and then a reader would."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.administered import administer
from tests.bundles import Site
from tests.commands import run_command
from tests.forking import PIPEGUARD
from tests.gateway.collector import Collector, attributes
from tests.test_docs import PAGES
from tests.wrap.wrapped import SERVER, Wrapped, result

POLICIES, COLLECTOR = "https://policies.example.com/laptops.jws", "http://127.0.0.1:4318"
PUBLISH, ENROL, STOP, READ = re.findall(
    r"^```sh\n(.*?)^```", PAGES["organisation.md"], re.DOTALL | re.MULTILINE
)
REFUSED = "may not run: the organisation's policy does not allow it"


class Laptop:
    """A machine of the organisation, with what its administrator publishes and collects."""

    def __init__(self, folder: Path, site: Site, collector: Collector) -> None:
        self.folder, self.site, self.collector = folder, site, collector
        self.system = folder / "system"
        self.system.mkdir()
        self.variables = {
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PIPEGUARD_STATE_DIR": str(folder / "state"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }

    def run(self, example: str) -> str:
        """Run lines of the page, with what is named in them here; return what they show."""
        for name, here in ((POLICIES, self.site.url), (COLLECTOR, self.collector.url)):
            example = example.replace(name, here)
        words = ["sh", "-euc", example.replace("/opt/", f"{self.folder}/opt/")]
        variables = {**os.environ, **self.variables}
        done = run_command(administer(self.system, words), cwd=self.folder, env=variables)
        assert done.returncode == 0, (example, done.stdout, done.stderr)
        self.site.content = (self.folder / "laptops.jws").read_text("utf-8")
        return done.stdout

    def wrap(self, *command: str) -> Wrapped:
        """Start a server behind PipeGuard, as a client does."""
        pipeguard = administer(self.system, PIPEGUARD)
        return Wrapped(
            self.folder, command=command, environment=self.variables, pipeguard=pipeguard
        )


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    with Site() as site, Collector() as collector:
        yield Laptop(tmp_path, site, collector)


@pytest.mark.needs("bubblewrap")
def test_what_the_page_shows_is_enforced_and_recorded(laptop: Laptop) -> None:
    assert "version      1" in laptop.run(PUBLISH)
    assert re.search(r"^is valid +True$", laptop.run(ENROL), re.MULTILINE)
    with laptop.wrap("npx", "evil-server") as evil:
        assert evil.code() == 2
        assert f"npm evil-server {REFUSED}" in evil.said()
    program = laptop.folder / "opt/old/server.py"
    program.parent.mkdir(parents=True)
    shutil.copy(SERVER, program)
    with laptop.wrap("python3", str(program)).opened() as old:
        assert result(old.ask("tools/call", name="drop_all", arguments={}))["isError"]
        assert "was run" in str(old.ask("tools/call", name="echo", arguments={"text": "was run"}))
        laptop.run(STOP)
        (fetch,) = (line for line in ENROL.splitlines() if line.endswith("--once"))
        assert "version 2 of the organisation's policy is in force." in laptop.run(fetch)
        assert REFUSED in str(old.frames_to_the_end())
        assert old.code() == 2
    laptop.run(READ)
    (file,) = (laptop.folder / "pipeguard-rows").iterdir()
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    rules = {finding["rule"] for row in rows for finding in row["findings"]}
    assert {"policy.tool", "policy.server", "audit.posture"} <= rules
    sent = [attributes(record.attributes)["log.record.uid"] for record in laptop.collector.records]
    assert [row["id"] for row in rows] == sent
