"""Fetches a package once, isolated, into a folder of PipeGuard's that servers run from."""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which
from typing import IO

from pipeguard.errors import LaunchError
from pipeguard.isolation.egress.hosts import PRIVATE
from pipeguard.isolation.egress.judge import EgressRecord, Report
from pipeguard.isolation.packages import (
    NPM,
    NPM_HOSTS,
    PYPI,
    PYPI_HOSTS,
    Package,
    find_program,
    install_commands,
    npm_install,
    read_facts,
)
from pipeguard.isolation.profile import MEBIBYTE, Profile, ResourceLimits
from pipeguard.isolation.removal import remove_what_can_be
from pipeguard.isolation.runtimes import Runtime, find_runtime, runtime_of_package
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.shipped import find_profile
from pipeguard.isolation.view import SandboxUser, Say, Variables
from pipeguard.launch.child import Child
from pipeguard.launch.command import Command

Start = Callable[[Command, Profile], Child]
REGISTRY_PORT = 443
GIBIBYTE = 1024**3
MOST_BYTES = 16 * GIBIBYTE  # the largest packages that servers use have a third of it
MOST_FILES = 2_000_000
LEAST_FREE_BYTES = GIBIBYTE // 2  # for all others


DONE = "pipeguard.json"  # in a package's folder; empty until that is complete
FETCH_SECONDS = 600.0
BUDGET_SECONDS = 0.5  # how often the disk is looked at
MAX_SAID_BYTES = 4000
MOST_CHARS = 600  # of an installer's output: npm gives its reason and then advice
MOST_HOSTS = 10  # reported for one installer: a package may ask for any number
MAX_VERSION_CHARS = 256  # as npm's own (semver, MAX_LENGTH)
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
FETCH_LIMITS = ResourceLimits(memory=8192 * MEBIBYTE, processes=4096, scratch=4096 * MEBIBYTE)


def fetch_package(
    package: Package,
    root: Path,
    variables: Variables,
    start: Start,
    say: Say,
) -> tuple[Path, IO[str]]:
    """Install a package unless an earlier call already did.

    Args:
        package: the package to install.
        root: the folder of all packages.
        variables: an environment; only PATH and certificate settings are used.
        start: starts a command isolated.
        say: informs the user of slow steps.

    Returns:
        The package's folder, and an open file that keeps the folder from being removed.

    Raises:
        LaunchError: it cannot be installed, or has no such program; the message says why.
    """
    with lock(root, package.identity):
        folder = newest(root, package.identity)
        if folder is None:
            say(f"fetching {' '.join(package.specs)}, once, with access to its registry only")
            folder = install(package, root, variables, start)
            try:
                find_program(str(folder), package)
            except LaunchError:
                remove_what_can_be(folder)  # nothing can run from it
                raise
        return folder, use(folder)


def fetched_runtime(
    folder: Path, package: Package, command: Command, start: str, host: SandboxUser
) -> tuple[tuple[str, ...], Runtime]:
    """The command line that runs a fetched package, and the files its program needs.

    Args:
        folder: the package's folder.
        package: as the command names it.
        command: the server's command.
        start: the server's working directory.
        host: this machine and its user.

    Raises:
        LaunchError: the package has no such program, or it cannot be run.
    """
    argv = (find_program(str(folder), package), *package.arguments)
    # As its interpreter was before anything of the package had run.
    needs = json.loads((folder / DONE).read_text("utf-8")).get("needs", ())
    given = (str(folder), *map(str, needs))
    name = package.program_name
    return argv, runtime_of_package(name, argv, given, env=command.env, folder=start, host=host)


def newest(root: Path, identity: str) -> Path | None:
    """The folder of a package's latest fetch; None if there is none.

    Every fetch has a folder of its own, numbered from the second on, because installed files
    contain their folder's path.
    """
    whole = [folder for folder in package_folders(root, identity) if is_whole(folder)]
    return whole[-1] if whole else None


def is_whole(folder: Path) -> bool:
    """True if a package was fetched completely."""
    return (folder / DONE).is_file() and (folder / DONE).stat().st_size > 0


def package_folders(root: Path, identity: str) -> list[Path]:
    """All folders of a package, complete or not, in the order in which they were made."""
    found = [path for path in root.glob(f"{identity}*") if path.is_dir()]
    return sorted(found, key=_number)


def _number(folder: Path) -> int:
    number = folder.name.partition("-")[2]
    return int(number) if number.isdigit() else 1


def install(
    package: Package,
    root: Path,
    variables: Variables,
    start: Start,
) -> Path:
    """Install a package into a new folder, and return the folder; the caller holds `lock`.

    Raises:
        LaunchError: it cannot be installed; the message has the installer's output.
    """
    known = package_folders(root, package.identity)
    for folder in known:
        if not is_whole(folder):
            remove_what_can_be(folder)  # of a fetch that was ended
    number = _number(known[-1]) + 1 if known else 1
    folder = root / (package.identity if number == 1 else f"{package.identity}-{number}")
    folder.mkdir(parents=True, mode=0o700)

    def run(words: Sequence[str], hosts: tuple[str, ...]) -> None:
        command = Command(words, _environment(variables), str(folder))
        _run(command, hosts, " ".join(package.specs), start)

    needs: tuple[str, ...] = ()
    try:
        (folder / DONE).touch()  # the installer cannot replace it: isolation.sandbox, `installer`
        for number, command in enumerate(install_commands(package, str(folder))):
            run(command, NPM_HOSTS if package.registry == NPM else PYPI_HOSTS)
            if package.registry == PYPI and number == 0:
                needs = _needs_of_interpreter(folder)
        for command in _npm_parts(package, folder, variables):
            run(command, NPM_HOSTS)
        made = folder.with_name(f"{folder.name}.new")
        made.unlink(missing_ok=True)
        facts = {**_facts(package, folder), "needs": needs}
        made.write_text(json.dumps(facts) + "\n", "utf-8")
        made.replace(folder / DONE)  # marks the package as complete
    except BaseException:
        remove_what_can_be(folder)
        raise
    return folder


def _needs_of_interpreter(folder: Path) -> tuple[str, ...]:
    """The files of a new Python environment, which only `venv` has written."""
    home = os.path.realpath(os.path.expanduser("~"))
    sensitive = sensitive_paths(home, ())
    host = SandboxUser(home, "", os.getuid(), os.getgid(), sensitive, str(folder.parent))
    return find_runtime((str(folder / "bin" / "python"),), {}, str(folder), host).needed


def _npm_parts(package: Package, folder: Path, variables: Variables) -> Iterator[tuple[str, ...]]:
    """Commands that install the npm packages a known server would fetch on its first run."""
    shipped = find_profile(package.key)
    if shipped is None or which("npm", path=variables.get("PATH")) is None:
        return
    for pattern in shipped.npm_parts:
        for part in folder.glob(pattern):
            yield npm_install(str(part))


def use(folder: Path) -> IO[str]:
    """Protect a folder from removal while the returned file is open."""
    import fcntl

    file = (folder / DONE).open(encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def remove_unused(folders: Iterable[Path]) -> list[Path]:
    """Remove folders that no server runs from; return the others."""
    import fcntl

    staying = []
    for folder in folders:
        with suppress(FileNotFoundError), (folder / DONE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                staying.append(folder)
                continue
        remove_what_can_be(folder)
    return staying


def _run(command: Command, hosts: tuple[str, ...], what: str, start: Start) -> None:
    # A company's network may lead the name to a mirror of its own.
    reached = tuple(f"{host}:{REGISTRY_PORT}{PRIVATE}" for host in hosts)
    folder = str(command.cwd)
    free = _measure_free(folder)
    child = start(command, Profile(write=(folder,), hosts=reached, limits=FETCH_LIMITS))
    try:
        child.wait_started()
        said, excess = _output(child, lambda: _excess(folder, free))
        ended = child.wait(0)
    finally:
        child.close()
    if excess:
        raise LaunchError(f"{what} could not be fetched: {excess} while it was, so it was ended.")
    if ended is None:
        raise LaunchError(
            f"{what} could not be fetched: {command.argv[0]} did not end in {FETCH_SECONDS:g}"
            " seconds."
        )
    if ended.code:
        # In quotes: the package may have chosen the words, which are not our advice.
        raise LaunchError(
            f"{what} could not be fetched: {command.argv[0]} {ended}."
            f" It ended with: {plain(' '.join(said.split()))[-MOST_CHARS:]!r}"
        )


def _output(child: Child, find_excess: Callable[[], str]) -> tuple[str, str]:
    """Collect the tail of a child's output until it ends, and the limit it exceeded, if any."""
    import select

    os.set_blocking(child.stderr_fd, False)
    os.set_blocking(child.stdout_fd, False)
    said = b""
    open_fds = {child.stdout_fd, child.stderr_fd}
    deadline = time.monotonic() + FETCH_SECONDS
    excess = ""
    while not excess and (left := deadline - time.monotonic()) > 0:
        pause = min(left, BUDGET_SECONDS)
        if not open_fds and child.wait(pause) is not None:
            break
        for descriptor in select.select(list(open_fds), [], [], pause if open_fds else 0)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                open_fds.discard(descriptor)
            said = (said + data)[-MAX_SAID_BYTES:]
        excess = find_excess()
    return said.decode("utf-8", "replace"), excess


def _measure_free(folder: str) -> tuple[int, int]:
    """Bytes and files of a disk (statvfs(3)); no files if the file system does not count them."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_favail


def _excess(folder: str, before: tuple[int, int]) -> str:
    """Name the limit exceeded since a measurement; empty if none was.

    Other programs' writes count too: only the total can be measured cheaply.
    """
    free, files = _measure_free(folder)
    if before[0] - free > MOST_BYTES:
        return f"more than {MOST_BYTES / GIBIBYTE:g} GiB were written"
    if before[1] - files > MOST_FILES:
        return f"more than {MOST_FILES:,} files were made"
    is_full = free < min(before[0] // 2, LEAST_FREE_BYTES)
    return f"the disk of {os.path.dirname(folder)} is full" if is_full else ""


def plain(text: str) -> str:
    """Drop unprintable characters: control characters and hidden ones."""
    return "".join(character for character in text if character.isprintable())


def refusal_reporter(say: Say) -> Report:
    """A function that reports hosts that an installer did not reach, each once."""
    told: set[str] = set()

    def report(record: EgressRecord) -> None:
        host = record.host
        if record.reason is None or not host:
            return
        if host in told or len(told) >= MOST_HOSTS:
            return
        told.add(host)
        say(
            f"what is installed asked for {plain(host)} and did not reach it: an installer may"
            " reach only its registry"
        )

    return report


def _environment(variables: Variables) -> dict[str, str]:
    """An environment without the server's own variables: an installer gets none of its secrets."""
    kept = {"PATH", "LANG", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"}
    found = {name: value for name, value in variables.items() if name in kept}
    found |= {
        "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NATIVE_TLS": "1",
        # Browsers come from elsewhere than the registry.
        "PUPPETEER_SKIP_DOWNLOAD": "1",
        "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1",
    }
    bundle = next((path for path in BUNDLES if Path(path).exists()), None)
    if bundle:  # this system's authorities, such as a company's
        found |= {"PIP_CERT": bundle, "NODE_EXTRA_CA_CERTS": bundle}
    return found


def _facts(package: Package, folder: Path) -> dict[str, object]:
    find_version = _npm_version if package.registry == NPM else _pypi_version
    return {
        "registry": package.registry,
        "specs": list(package.specs),
        "program": package.program,
        "python": package.python,
        "fetched": int(time.time()),
        "version": plain(find_version(folder, package.name))[:MAX_VERSION_CHARS],
    }


def _npm_version(folder: Path, name: str) -> str:
    file = folder / "node_modules" / name / "package.json"
    return str(read_facts(str(folder), str(file)).get("version", ""))


def _pypi_version(folder: Path, name: str) -> str:
    for info in folder.glob("lib/*/site-packages/*.dist-info"):
        installed, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        if _plain(installed) == _plain(name):
            return version
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # packaging.python.org, name normalization


@contextmanager
def lock(root: Path, name: str) -> Iterator[None]:
    """Lock a package, so that only one process at a time fetches it."""
    import fcntl

    root.mkdir(parents=True, mode=0o700, exist_ok=True)
    with (root / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
