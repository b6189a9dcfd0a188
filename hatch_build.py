"""Builds with the package what makes it start and run fast, where that can be built.

- The parser of frames (firewall/protocol/_strict_json.c), the layout of their strings
  (detect/text/_layout.c), the outlines of plain frames (detect/_outline.c) and the hot loops of the
  opener, the classifiers, the network and the comparison of texts (_opener.c, _classifier.c,
  _network.c and _overlap.c in detect/model), where a C compiler is: one binary of each for every
  Python from 3.11 on. Without a compiler the same runs in Python, except that no frame is outlined,
  and what the opener and the network do in numpy, which is a dependency there alone; on Windows the
  network's does, since Microsoft's compiler does not know the vectors that it is written in.
  PIPEGUARD_NATIVE=0 leaves them out, PIPEGUARD_NATIVE=1 makes a missing compiler an error.
- The program that takes on Landlock's rules in a sandbox (isolation/_landlock.c), on Linux where a
  C compiler is. It needs no library, and runs whatever is installed.
- The compiled rules (pipeguard/databases), where Hyperscan is: for the kind of machine that builds
  them, and the version of Hyperscan. Where they are missing or do not fit, the first start compiles
  the rules; so it does for a package that is installed in place, whose rules may be edited.
  PIPEGUARD_DATABASES=0 leaves them out, PIPEGUARD_DATABASES=1 makes a missing Hyperscan an error.

`pipeguard doctor` says what there is.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

MODEL = "pipeguard/detect/model"
PLAIN = (
    "pipeguard/firewall/protocol/_strict_json",
    "pipeguard/detect/text/_layout",
    "pipeguard/detect/_outline",
    "pipeguard/detect/matching/_signs",
    f"{MODEL}/_classifier",
    f"{MODEL}/_overlap",
)
NEEDED = (f"{MODEL}/_opener", f"{MODEL}/_network")  # to do without numpy
NAMES = (*PLAIN, *(NEEDED[:1] if sys.platform == "win32" else NEEDED))
LANDLOCK = "pipeguard/isolation/_landlock"
# Alone in what it runs among: no library, no start files, nothing that these would have to provide.
ALONE = ("-Os", "-static", "-no-pie", "-nostdlib", "-ffreestanding", "-fno-stack-protector")
DATABASES = "pipeguard/databases"
WANTED = os.environ.get("PIPEGUARD_NATIVE", "")
DATABASES_WANTED = os.environ.get("PIPEGUARD_DATABASES", "")


class DependenciesHook(MetadataHookInterface):  # type: ignore[misc]
    """Asks for numpy where nothing can be compiled that does its work: 57 MB, which few need."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the dependencies, which pyproject.toml has in this hook's table.

        In an sdist, hatchling takes those of the machine that built it, and calls no hook unless
        some field is still dynamic. So one is that no metadata has: `gui-scripts`, which are none.
        """
        metadata["gui-scripts"] = {}
        compiles = WANTED != "0" and all(
            name in NAMES and _compiled(Path(self.root), name) for name in NEEDED
        )
        more = [] if compiles else self.config["without-compiler"]
        metadata["dependencies"] = [*self.config["dependencies"], *more]


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Compiles the extensions into the source tree and the rules beside it, for the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel with what it runs on.

        Raises:
            CompileError: an extension does not compile, and PIPEGUARD_NATIVE is 1.
            CalledProcessError: the rules do not compile, and PIPEGUARD_DATABASES is 1.
        """
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        for name in NAMES if WANTED != "0" else ():
            built = _built(Path(self.root), name)
            if built is not None:
                build_data["artifacts"].append(f"/{built.relative_to(self.root).as_posix()}")
                build_data["tag"] = f"cp311-abi3-{platform}"
        if WANTED != "0" and sys.platform == "linux" and _built_program(Path(self.root), LANDLOCK):
            build_data["artifacts"].append(f"/{LANDLOCK}")
            build_data.setdefault("tag", f"py3-none-{platform}")
        databases = Path(self.root) / "dist" / "databases"
        if version != "editable" and _compiles_rules(Path(self.root), databases):
            build_data["force_include"][str(databases)] = DATABASES
            build_data.setdefault("tag", f"py3-none-{platform}")
        build_data["pure_python"] = "tag" not in build_data


def _compiles_rules(root: Path, folder: Path) -> bool:
    """Compile the shipped rules into a folder, unless they are there; False where that fails."""
    if DATABASES_WANTED == "0":
        return False
    path = os.pathsep.join([str(root), *sys.path])  # an isolated build has packages of its own
    done = subprocess.run(
        [sys.executable, "-m", "pipeguard.rulebook.compiler", str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        check=DATABASES_WANTED == "1",
    )
    if done.returncode:
        sys.stderr.write("The rules are not compiled: the first start will do it.\n")
        shutil.rmtree(folder, ignore_errors=True)
    return not done.returncode


def _built(root: Path, name: str) -> Path | None:
    """A compiled extension in the source tree; None where it cannot be compiled."""
    made = _compiled(root, name)
    return None if made is None else made.replace((root / name).with_name(made.name))


def _built_program(root: Path, name: str) -> bool:
    """Compile a program into the source tree; False where it cannot be compiled."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    found = shutil.which(os.environ.get("CC", "").split(" ")[0] or compiler) or shutil.which("cc")
    made = root / "dist" / "native" / Path(name).name
    made.parent.mkdir(parents=True, exist_ok=True)
    command = [found or "cc", *ALONE, "-o", str(made), f"{name}.c"]
    done = subprocess.run(command, cwd=root, check=False) if found is not None else None
    if done is None or done.returncode:
        if WANTED == "1":
            raise SystemExit(f"{name} does not compile.")
        sys.stderr.write(f"{name} is not built: isolated servers run without Landlock.\n")
        return False
    made.replace(root / name)
    return True


def _compiled(root: Path, name: str) -> Path | None:
    """A compiled extension in `dist`; None where it cannot be compiled."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import BaseError, CCompilerError

    is_windows = sys.platform == "win32"
    extension = Extension(
        name.replace("/", "."),
        [f"{name}.c"],
        depends=[str(file) for file in (root / "pipeguard").rglob("*.h")],
        py_limited_api=True,
        libraries=[] if is_windows else ["m"],
        extra_compile_args=[] if is_windows else ["-O3", "-g0"],  # `-g` writes the folder into it
    )
    command = build_ext(Distribution({"name": "pipeguard", "ext_modules": [extension]}))
    command.inplace = False
    command.build_lib = command.build_temp = str(root / "dist" / "native")
    here = Path.cwd()
    os.chdir(root)
    try:
        command.ensure_finalized()
        command.run()
    except (BaseError, CCompilerError) as error:
        if WANTED == "1":
            raise
        sys.stderr.write(f"{name} is not built, and slower code takes its place: {error}\n")
        return None
    finally:
        os.chdir(here)
    (made,) = (Path(path) for path in command.get_outputs())
    return made
