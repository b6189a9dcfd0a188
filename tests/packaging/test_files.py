"""The image, the compose file and the unit: linted, and checked against each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
PACKAGING = TOP / "packaging"
DOCKERFILE, COMPOSE = PACKAGING / "Dockerfile", PACKAGING / "compose.yaml"
UNIT, USERS = PACKAGING / "pipeguard.service", PACKAGING / "pipeguard.sysusers.conf"
MOST_EXPOSURE = 1.5  # of systemd-analyze security, where 10 is a service without any protection
USER = "10001"

analyze = pytest.mark.needs("systemd-analyze")


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def tool(name: str) -> Path:
    """A program of the tests' environment."""
    return Path(sys.executable).with_name(name)


@pytest.mark.skipif(not tool("hadolint").exists(), reason="hadolint has no wheel for this machine")
def test_the_dockerfile_is_clean() -> None:
    done = run(tool("hadolint"), DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_read_only_for_its_user_and_has_what_it_copies() -> None:
    text = DOCKERFILE.read_text()
    *_, last = text.split("\nFROM ")
    assert f"USER {USER}:{USER}" in last
    assert "HEALTHCHECK" in last
    assert "/healthz" in last
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    ignored = (PACKAGING / "Dockerfile.dockerignore").read_text()
    for source in " ".join(sources).split():
        assert (TOP / source).exists(), source
        assert f"!{source.rstrip('/')}\n" in ignored, source
    assert set(re.findall(r"requirements/\w+\.txt", text)) <= {
        f"requirements/{name}.txt" for name in ("fleet", "oauth", "otel", "lock", "build")
    }


@pytest.mark.parametrize(
    ("schema", "names"),
    {
        "vendor.compose-spec": "packaging/**/compose.yaml",
        "vendor.github-workflows": ".github/workflows/*.yml",
        "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
        "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
        "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    }.items(),
)
def test_a_file_for_another_program_follows_its_schema(schema: str, names: str) -> None:
    files = [*TOP.glob(names)]
    assert files
    done = run(tool("check-jsonschema"), "--builtin-schema", schema, *files)
    assert done.returncode == 0, done.stdout


def test_the_sdist_has_what_its_makefile_and_its_pages_name() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    always = {"LICENSE", "NOTICE", "README.md", "pyproject.toml"}  # of hatchling, by its own rules
    makefile, pages = (
        (TOP / "Makefile").read_text("utf-8"),
        [TOP / "README.md", *TOP.glob("[CS]*.md")],
    )
    linked = [
        link for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
    ]
    named = {
        *re.findall(r"(?<=[ ./])(?:requirements|docs|tests|packaging)(?=/)", makefile),
        *linked,
    }
    tops = {name.partition("/")[0] for name in named}
    assert tops - {name.strip("/") for name in included} - always == set()


def test_the_makefile_works_in_a_folder_with_a_blank() -> None:
    makefile = (TOP / "Makefile").read_text("utf-8")
    assert re.findall(r'(?<!")\$\(CURDIR\)', makefile) == []


def test_the_help_of_a_benchmark_is_all_that_its_target_shows() -> None:
    shown = run("make", "-C", TOP, "--dry-run", "bench", "ARGS=--help").stdout
    assert re.findall(r"-m benchmarks\S*", shown) == ["-m benchmarks.frames"]


def test_the_demonstration_is_that_of_the_working_tree(tmp_path: Path) -> None:
    installed = tmp_path / "bin" / "pipeguard"
    installed.parent.mkdir()
    installed.symlink_to("/bin/true")
    shown = run("make", "-C", TOP, "--dry-run", "demo", f"PREFIX={tmp_path}", "DEMO=new").stdout
    assert re.findall(r"\S*bin/pipeguard", shown) == ["new/bin/pipeguard"]


def test_the_help_of_make_is_one_table() -> None:
    shown = run("make", "-C", TOP, "--no-print-directory", "help").stdout.splitlines()
    assert {line[:20].rstrip().count(" ") for line in shown} == {3}


def test_a_release_says_first_what_is_not_committed(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((TOP / "Makefile").read_bytes())
    run("git", "init", "--quiet", tmp_path)
    done = run("make", "-C", tmp_path, "release")
    assert done.returncode == 2
    assert "run: git stash -u\n?? Makefile\n" in done.stderr  # and no environment is made first


def test_the_compose_file_fits_the_image() -> None:
    (service,) = yaml.safe_load(COMPOSE.read_text())["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert (PACKAGING / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
        DOCKERFILE
    )
    mounted = {volume.split(":")[-2 if volume.endswith(":ro") else -1]
               for volume in service["volumes"]}  # fmt: skip
    text = DOCKERFILE.read_text()
    assert all(folder in text for folder in mounted)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@analyze
def test_the_unit_verifies(tmp_path: Path) -> None:
    """With a program and a user that are there, which verify looks for."""
    text = UNIT.read_text().replace("/opt/pipeguard/bin/pipeguard", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^(User|Group)=.*", r"\1=root", text, flags=re.MULTILINE))
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stderr) == (0, "")


@analyze
def test_the_unit_exposes_little() -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_the_unit_runs_as_the_user_that_is_made_for_it() -> None:
    name = re.search(r"^User=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert name is not None
    home = "/var/lib/pipeguard"
    assert USERS.read_text().splitlines()[-1] == f'u {name[1]} - "PipeGuard" {home}'
    assert f"Environment=HOME={home}" in UNIT.read_text()
    page = (TOP / "docs/serve.md").read_text()
    assert f"install -D -m 640 -g {name[1]} ./pipeguard.yaml " in page, "others can read it"
