"""What holds for every test: none reads or writes the settings and state of whoever runs it."""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from pipeguard.cli._person import AGENT_VARIABLES
from tests.tools import TOOLS

FOLDERS = ("CONFIG", "STATE", "DATA")  # as the XDG base directories name them

# As rulebook.cache has it, where a test imports numpy itself: threads of OpenBLAS end when the
# process forks (pthread_atfork(3)), and whoever waits for them then waits for ever.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Without bytecode on disk each worker rewrites the asserts of all tests anew, for 8 of the 15 s of
# collecting them, and each program that a test starts is compiled from its source.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    """Let what tests start be interrupted: a shell's job in the background ignores that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers more than cores: for a third of its time a test only waits."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no core is without work at the end."""
    longest = {item.path for item in items if item.get_closest_marker("long")}
    starting = {item.path for item in items if item.get_closest_marker("real")}
    items.sort(key=lambda item: (item.path not in longest, item.path not in starting))


def pytest_collection_finish() -> None:
    """Look no more, in each of many collections of garbage, at what lives until the end."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in AGENT_VARIABLES:  # whoever runs the tests
            patch.delenv(name, raising=False)
        for name in FOLDERS:
            patch.setenv(f"XDG_{name}_HOME", str(tmp_path_factory.mktemp(name.lower())))
        # Rules take half a minute to compile: once for all workers, and for as long as they hold.
        patch.setenv("XDG_CACHE_HOME", str(TOOLS / "cache"))
        yield
