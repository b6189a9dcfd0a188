"""Builds the opener's hot loop (core/model/_opener.c) with the package, where a C compiler is.

One binary for every Python from 3.11 on. Without a compiler the package is built all the same, and
runs the same arithmetic in numpy; `pipeguard doctor` says which. PIPEGUARD_NATIVE=0 leaves it out,
PIPEGUARD_NATIVE=1 makes a missing compiler an error.
"""

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "pipeguard/core/model"
NAME = "_opener"
WANTED = os.environ.get("PIPEGUARD_NATIVE", "")


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg,misc]
    """Compiles the extension into the source tree, and puts it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel with what it runs on.

        Raises:
            CompileError: it does not compile, and PIPEGUARD_NATIVE is 1.
        """
        built = None if WANTED == "0" else _built(Path(self.root))
        if built is None:
            return
        build_data["artifacts"].append(f"/{PACKAGE}/{built.name}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"cp311-abi3-{platform}"


def _built(root: Path) -> Path | None:
    """The compiled extension in the source tree; None where it cannot be compiled."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import BaseError

    libraries = [] if sys.platform == "win32" else ["m"]
    source = f"{PACKAGE}/{NAME}.c"
    extension = Extension(
        f"{PACKAGE.replace('/', '.')}.{NAME}",
        [source],
        py_limited_api=True,
        libraries=libraries,
    )
    command = build_ext(Distribution({"name": "pipeguard", "ext_modules": [extension]}))
    command.inplace = False
    command.build_lib = command.build_temp = str(root / "dist" / "native")
    here = Path.cwd()
    os.chdir(root)
    try:
        command.ensure_finalized()
        command.run()
    except BaseError as error:
        if WANTED == "1":
            raise
        sys.stderr.write(f"{NAME} is not built, and numpy takes its place: {error}\n")
        return None
    finally:
        os.chdir(here)
    (made,) = (Path(path) for path in command.get_outputs())
    target = root / PACKAGE / made.name
    made.replace(target)
    return target
