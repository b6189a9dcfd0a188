"""The image, built and started by the container engine of this machine: `make image`.

Needs an engine and a registry, so that it is not among the tests that each change must pass.
`PIPEGUARD_IMAGE_OPTIONS` are further options of the build, such as another base image.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.processes import until
from tests.packaging.test_files import DOCKERFILE, TOP, USER

pytestmark = pytest.mark.engine
IMAGE = "pipeguard-of-tests"
HEALTHY = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz')"
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--init"),
)


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def engine() -> str:
    """The engine that answers."""
    for name in filter(shutil.which, ("docker", "podman")):
        if subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    pytest.fail("no container engine answers: tried `docker info` and `podman info`")


@pytest.fixture(scope="module")
def image(engine: str) -> str:
    more = shlex.split(os.environ.get("PIPEGUARD_IMAGE_OPTIONS", ""))
    run(engine, "build", *more, "-f", DOCKERFILE, "-t", IMAGE, TOP)
    return IMAGE


@pytest.fixture
def container(engine: str, image: str, tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "pipeguard.yaml"
    config.write_text(json.dumps({"servers": {"sleeper": {"command": "cat"}}}))
    config.chmod(0o644)
    mount = f"{config}:/etc/pipeguard/pipeguard.yaml:ro"
    words = ("--listen", "0.0.0.0:8080", "--config", "/etc/pipeguard/pipeguard.yaml")
    options = ("--env", f"TOKEN={'t' * 40}", "--volume", mount, *HARDENED)
    name = run(engine, "run", "--detach", *options, image, "serve", *words, "--token-env", "TOKEN")
    yield name
    run(engine, "rm", "--force", name)


def test_it_serves_on_a_read_only_root_without_rights(engine: str, container: str) -> None:
    def is_healthy() -> bool:
        words = [engine, "exec", container, "/opt/pipeguard/bin/python", "-I", "-c", HEALTHY]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    until(is_healthy, "the gateway is healthy")
    assert run(engine, "exec", container, "id", "-u") == USER
    assert run(engine, "logs", container).count("compiling") == 0
    run(engine, "stop", container)
    state = json.loads(run(engine, "inspect", container))[0]["State"]
    assert state["ExitCode"] == 0


@pytest.mark.parametrize("program", ["node", "npm", "npx", "uv", "uvx"])
def test_it_has_what_starts_servers(engine: str, image: str, program: str) -> None:
    words = (engine, "run", "--rm", *HARDENED, "--entrypoint", program, image, "--version")
    assert run(*words)
