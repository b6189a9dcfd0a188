"""A server's view: the list of mounts, without making any. isolation/view.py, sensitive.py."""

from pathlib import Path

import pytest

from pipeguard.errors import PolicyError
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sensitive import is_inside, sensitive_paths
from pipeguard.isolation.view import Mount, MountKind, SandboxUser, build_view, filter_environment
from pipeguard.isolation.walls.witness import find_access
from tests.each import each


@pytest.fixture
def host(tmp_path: Path) -> SandboxUser:
    home = tmp_path.resolve() / "home"
    for name in (".ssh", ".config/gcloud", "work/deep", "state/isolation/packages/one"):
        (home / name).mkdir(parents=True)
    (home / ".netrc").touch()
    sensitive = sensitive_paths(str(home), [str(home / "state")])
    return SandboxUser(
        str(home), "kim", 1000, 1000, sensitive, str(home / "state/isolation/packages")
    )


def mounts(
    host: SandboxUser, profile: Profile, *needed: str, folder: str = "/"
) -> dict[str, Mount]:
    view = build_view(profile, host, needed, folder, None)
    return {mount.path: mount for mount in view.mounts}


def test_what_is_given_is_there_and_outer_folders_come_first(host: SandboxUser) -> None:
    work, deep = f"{host.home}/work", f"{host.home}/work/deep"
    view = build_view(Profile(read=(work,), write=(deep,)), host, (), "/", None)
    given = [mount for mount in view.mounts if is_inside(mount.path, work)]
    assert given == [Mount(MountKind.READ, work, work), Mount(MountKind.WRITE, deep, deep)]


def test_a_folder_in_one_that_may_be_written_may_be_written(host: SandboxUser) -> None:
    work, deep = f"{host.home}/work", f"{host.home}/work/deep"
    found = mounts(host, Profile(read=(deep,), write=(work,)))
    assert found[work].kind is MountKind.WRITE
    assert deep not in found


def test_a_program_among_keys_has_to_be_named(host: SandboxUser) -> None:
    program = f"{host.home}/.ssh"
    with pytest.raises(PolicyError, match=r"--read .*\.ssh"):
        mounts(host, Profile(), program)
    assert mounts(host, Profile(read=(program,)), program)[program].kind is MountKind.READ


def test_a_fetched_package_is_read_where_the_state_is_not(host: SandboxUser) -> None:
    package = f"{host.packages}/one"
    assert mounts(host, Profile(), package)[package].kind is MountKind.READ
    with pytest.raises(PolicyError):
        mounts(host, Profile(), host.packages)


def test_the_folder_that_it_starts_in_is_there(host: SandboxUser) -> None:
    project = f"{host.home}/project"
    assert mounts(host, Profile(), folder=project)[project].kind is MountKind.BARE
    below = Profile(read=(f"{project}/docs",))  # a mount has to be made in it
    Path(project, "docs").mkdir(parents=True)
    assert mounts(host, below, folder=project)[project].kind is MountKind.FOLDER
    assert mounts(host, Profile(), folder=host.home)[host.home].kind is MountKind.FOLDER
    assert project not in mounts(host, Profile(read=(host.home,)), folder=project)


def test_a_link_leads_where_it_led(host: SandboxUser) -> None:
    link = Path(host.home, "bin")
    link.symlink_to("work")
    assert mounts(host, Profile(), str(link))[str(link)] == Mount(
        MountKind.LINK, str(link), f"{host.home}/work"
    )


def test_a_link_of_a_folder_leads_a_program_to_its_packages(host: SandboxUser) -> None:
    package = Path(host.home, "srv-1.0")
    package.mkdir()
    (package / "index.js").write_text("")
    link = Path(host.home, "srv")
    link.symlink_to("srv-1.0")
    needed = (str(link / "index.js"), str(package))
    view = build_view(Profile(), host, needed, "/", None)
    assert Mount(MountKind.LINK, str(link), str(package)) in view.mounts
    assert find_access(view, needed[0]) is MountKind.READ
    alone = build_view(Profile(), host, needed[:1], "/", None)
    assert Mount(MountKind.READ, needed[0], str(package / "index.js")) in alone.mounts


def test_what_is_held_in_a_kept_home_is_of_that_home(host: SandboxUser) -> None:
    """And never of the user's own, which it replaces."""
    settings = Path(host.home, "work", "deep", "settings")
    settings.touch()
    kept = f"{host.home}/state/kept"
    view = build_view(Profile(read=(str(settings),)), host, (), "/", kept)
    written = [mount for mount in view.mounts if mount.kind is MountKind.WRITE]
    assert written
    assert {mount.source for mount in written if not is_inside(mount.source, kept)} == set()


def test_no_variable_leads_to_a_socket(host: SandboxUser) -> None:
    variables = {"SSH_AUTH_SOCK": "/a", "DISPLAY": ":0", "TMPDIR": "/x", "PATH": "/bin", "K": "v"}
    view = build_view(Profile(), host, (), "/", None)
    assert filter_environment(variables, view) == {"PATH": "/bin", "K": "v", "HOME": host.home}


def test_a_base_folder_that_is_not_there_is_not_named(host: SandboxUser) -> None:
    """A server that makes its cache there would fail if the root folder is read-only."""
    own = {"XDG_CACHE_HOME": f"{host.home}/.cache", "XDG_DATA_HOME": f"{host.home}/work/data"}
    elsewhere = {"XDG_CONFIG_HOME": "/srv/config", "XDG_STATE_HOME": "/home/other"}
    view = build_view(Profile(), host, (), "/", None)
    assert filter_environment(own | elsewhere, view) == own | {"HOME": host.home}


def test_etc_has_no_password_and_no_key(host: SandboxUser) -> None:
    found = {path for path in mounts(host, Profile()) if path.startswith("/etc")}
    assert not {path for path in found if "shadow" in path or "/ssh" in path.replace("/ssl", "")}
    assert mounts(host, Profile())["/etc/passwd"].source.startswith("kim:x:1000:1000:")


@each(
    "path, folder, inside",
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/a/b", False),
     ("/a", "/", True)],
)  # fmt: skip
def test_a_path_is_in_a_folder_by_whole_names(path: str, folder: str, inside: bool) -> None:
    assert is_inside(path, folder) is inside
