"""Writes that a server may make without a grant, and refusals: no write is lost."""

from pathlib import Path

import pytest

from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.profile import MEBIBYTE, Profile, ResourceLimits
from tests.each import each
from tests.isolation.containers import engine_here
from tests.isolation.sandboxes import make_home, printed, script

pytestmark = pytest.mark.needs("bubblewrap")

HERE = Path(__file__).resolve().parent
LIMITS = ResourceLimits(scratch=8 * MEBIBYTE)
# Where nothing may be written: the root, what is made for what is in it, and what is given to read.
IN_TMP = HERE.is_relative_to("/tmp")  # then what is around it is the server's own
REFUSED = ("/", "/var", "/etc", "/usr", "/home", str(HERE), *([] if IN_TMP else [str(HERE.parent)]))


@pytest.fixture(params=[Isolation.BUBBLEWRAP, Isolation.CONTAINER])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    if request.param == Isolation.CONTAINER:
        engine_here(tmp_path / "state" / "isolation")
    return str(request.param)


def ran(text: str, engine: str, profile: Profile, folder: str = "/") -> str:
    return printed(script(text), profile, engine=engine, folder=folder)


def test_what_is_neither_given_nor_its_own_cannot_be_written(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path, monkeypatch, "given")
    own = ("/tmp", "/var/tmp", "/run", str(home), str(home / "given"))
    text = "for f in {}; do echo x > $f/new && echo $f:written; done; rm -f /tmp/new /run/new"
    # Each of its folders holds the bytes that the limit says.
    text += (
        "; for f in /tmp /run; do head -c 6m /dev/zero > $f/x && echo fits;"
        " head -c 6m /dev/zero > $f/y || echo full; done"
    )
    given = Profile(read=(str(HERE),), write=(str(home / "given"),), limits=LIMITS)
    said = ran(text.format(" ".join((*REFUSED, *own))), engine, given)
    assert [line for line in said.splitlines() if line.endswith(":written")] == [
        f"{path}:written" for path in own
    ]
    assert (home / "given" / "new").exists()
    assert said.count("fits") == said.count("full") == 2


@pytest.mark.often(Isolation.BUBBLEWRAP)
def test_the_folder_that_it_starts_in_is_not_written_unless_it_is_given(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path, monkeypatch, "work")
    for folder in (HERE.parent, home / "work"):
        said = ran("pwd; ls -A; echo x > lost && echo done", engine, Profile(), str(folder))
        assert said.startswith(f"{folder}\n")
        assert "Read-only file system" in said
        assert "done" not in said


@each("home", ["/", "/var", "/tmp/of-nobody"])
def test_a_home_anywhere_covers_nothing(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    text = "echo x > /tmp/a && echo x > /var/tmp/b && cat /tmp/a /var/tmp/b; ls /usr/bin/env"
    assert ran(text, Isolation.BUBBLEWRAP, Profile(limits=LIMITS)) == "x\nx\n/usr/bin/env\n"
