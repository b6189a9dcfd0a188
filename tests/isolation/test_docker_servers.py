"""The words of servers that are containers: refusals and additions. isolation/docker_*."""

import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import PolicyError
from pipeguard.isolation.container_engines import find_podman
from pipeguard.isolation.docker_servers import (
    FLAGS,
    SHORT,
    VALUES,
    Hardened,
    harden,
    is_of_containers,
    parse_run,
)
from pipeguard.isolation.profile import MEBIBYTE, Profile, ResourceLimits
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import SandboxUser
from tests.each import each

IMAGE = "mcp/time"
LIMITS = ResourceLimits(memory=100 * MEBIBYTE, processes=64, scratch=MEBIBYTE)
ADDED = (
    *("--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--read-only", "--tmpfs", "/tmp:rw,exec,size=1048576,mode=1777"),
    *("--pids-limit", "64", "--memory", "209715200", "--rm"),
)


def judged(words: str, folder: Path | None = None, profile: Profile | None = None) -> Hardened:
    """A command line, hardened for a user whose home is /home/ada."""
    home = "/home/ada"
    host = SandboxUser(home, "ada", 1000, 1000, sensitive_paths(home, ()), "/packages")
    given_files = profile or Profile(limits=LIMITS)
    return harden(tuple(shlex.split(words)), str(folder or "/work"), given_files, host, {})


def test_what_is_not_said_is_closed() -> None:
    assert judged(f"docker run -i {IMAGE} --zone UTC") == Hardened(
        ("docker", "run", *ADDED, "-i", IMAGE, "--zone", "UTC"), ADDED, is_open=False
    )


@each("start", ["podman run", "/usr/bin/docker container run", "docker --log-level error run"])
def test_what_stands_before_run_stays(start: str) -> None:
    words = tuple(start.split())
    assert judged(f"{start} -i {IMAGE}").argv == (*words, *ADDED, "-i", IMAGE)


def test_what_is_said_is_not_said_again() -> None:
    words = (
        "docker run -i --rm --network=none --cap-drop ALL --security-opt no-new-privileges"
        f" --read-only --tmpfs /tmp --pids-limit 5 -m 64m {IMAGE}"
    )
    assert judged(words).added == ()
    assert "--rm" in judged(words.replace("--rm", "--rm=false")).added


@each("network", ["bridge", "mynet", "slirp4netns"])
def test_a_network_of_its_own_is_told(network: str) -> None:
    closed = judged(f"docker run --network {network} {IMAGE}")
    assert closed.is_open
    assert "none" not in closed.added


PASSES = [
    "-i --rm -e TOKEN -e A=b --env-file .env -w /app -u 1000:1000 --name x --init",
    "-ie TOKEN",
    "-i=true --rm=1 --tty=false --quiet=f -iw/app",
    "-v data:/data -v /cache --volume cache:/c:ro,z -v /work/project:/project:ro",
    "--mount 'type=bind,\"source=/work/a,b\",dst=/p,readonly'",
    "--mount type=volume,src=data,dst=/data --mount type=tmpfs,dst=/t,tmpfs-size=5",
    "--network none --ipc private --pid private --userns keep-id:uid=5 --cgroupns private",
    "--memory 2g --pids-limit=100 --ulimit nofile=100 --shm-size 64m --restart no",
    "--security-opt no-new-privileges:true --cap-drop=NET_RAW --dns 1.1.1.1",
    "--",
]


@each("options", PASSES)
def test_what_gives_nothing_of_the_machine_passes(options: str) -> None:
    closed = judged(f"docker run {options} {IMAGE} serve --privileged -v /:/host")
    assert closed.argv[-5:] == (IMAGE, "serve", "--privileged", "-v", "/:/host")
    assert closed.argv[2 + len(closed.added) :] == tuple(
        shlex.split(f"{options} {IMAGE} serve --privileged -v /:/host")
    )


REFUSED = [
    *("--privileged", "--privileged=true", "-i --privileged", "--cap-add=NET_RAW", "-id"),
    *("--device /dev/sda", "--gpus all", "--detach", "--restart always", "--volumes-from x"),
    *("--pid host", "--pid container:x", "--ipc=container:x", "--uts host", "--pid ''"),
    *("--userns=host", "--cgroupns host", "--network host", "--net=host", "--network=container:x"),
    *("--network name=host", "--network ns:/proc/1/ns/net", "--network pod:x", "--pod x"),
    *("--security-opt seccomp=unconfined", "--security-opt label=disable", "--read-only=false"),
    *("--security-opt no-new-privileges=false", "--security-opt no-new-privileges:false"),
    *("-v /:/host", "-v/:/host", "-iv /:/host", "--volume=/:/host:ro", "-v /../:/host"),
    *("-v /var/run/docker.sock:/s", "-v /proc:/p", "-v /etc:/etc:ro", "-v ../:/up"),
    *("-v /home/ada:/h", "-v /home/ada/.ssh/id:/k:ro", "-v /home/ada/x/../.ssh:/k"),
    *("--env-file=../home/ada/.netrc", "--label-file /home/ada/.ssh/config"),
    *("-v /work/p:/p:rshared", "-v /work/p:/p:O", "--env-file /proc/1/environ"),
    "--mount TYPE=bind,SOURCE=/,target=/host",
    "--mount 'type=bind,\"source=/\",target=/host'",
    "--mount type=volume,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/",
    "--mount type=bind,source=/work,source=/,target=/x",
    "--mount 'type=bind,\"source=/'",
    "--mount type=bind,source=/work,target=/x,bind-propagation=rshared",
    *("--mount type=glob,source=/*,target=/x", "--mount type=volume,source=/,target=/x"),
    *("--runtime runsc", "--sysctl net.ipv4.ip_forward=1", "-p 80:80", "-P", "--uidmap 0:0:1"),
    *("--pids-limit -1", "--pids-limit 0", "--memory 0", "--env-host", "--rootfs"),
    *("--no-such-option", "-x", "-ix", "--interactive=maybe", "--env", "-e"),
]


@each("options", REFUSED)
def test_what_gives_a_part_of_the_machine_is_refused_by_its_words(options: str) -> None:
    tail = "" if options in ("--env", "-e") else f" {IMAGE}"
    with pytest.raises(PolicyError) as refused:
        judged(f"docker run {options}{tail}")
    names = {word.partition("=")[0] for word in shlex.split(options)}
    assert any(name in str(refused.value) for name in names)


ELSEWHERE = [
    *("docker -H tcp://a.example run x", "docker --host=ssh://a run x", "docker -Htcp://a run x"),
    *("docker --context b run x", "docker -cb run x", "podman --remote=true container run x"),
    *("podman -r run x", "podman --url ssh://a run x", "podman --connection=b run x"),
]


@each(
    "words, why",
    [
        *((words, "only a server of") for words in ("docker exec -i x y", "podman")),
        *((words, "names no image") for words in ("docker run --name x", "podman run --")),
        *((f"podman {words} run y", "not started with") for words in ("--root /x", "--runtime x")),
        *((words, "not isolated") for words in ELSEWHERE),
    ],
)
def test_other_commands_are_refused(words: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        judged(words)


@each("name", ["DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION"])
def test_a_variable_that_names_another_machine_is_refused(name: str) -> None:
    host = SandboxUser("/home/ada", "ada", 1000, 1000, (), "/packages")
    words = ("docker", "run", IMAGE)
    with pytest.raises(PolicyError, match=f"{name}: .* not isolated"):
        harden(words, "/work", Profile(), host, {name: "ssh://a.example"})
    for value in ("", "default", "unix:///run/user/1000/docker.sock"):
        assert harden(words, "/work", Profile(), host, {name: value, "OTHER": "ssh://a"})


def test_what_is_named_may_be_mounted() -> None:
    words = f"docker run -v /home/ada/.aws/config:/c:ro {IMAGE}"
    with pytest.raises(PolicyError, match=r"/home/ada/\.aws"):
        judged(words)
    assert judged(words, profile=Profile(read=("/home/ada/.aws/config",)))


def test_links_and_sockets_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("/")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "engine"))
        for source in ("root", "engine"):
            with pytest.raises(PolicyError, match=source):
                judged(f"docker run -v ./{source}:/x {IMAGE}", tmp_path)
    (tmp_path / "plain").mkdir()
    assert judged(f"docker run -v ./plain:/x {IMAGE}", tmp_path)


@given(st.lists(st.sampled_from([*SHORT, *sorted(FLAGS), "--env", "-e", "x", "-it", "--", "a=b"])))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    argv = ["docker", "run", *words]
    try:
        run = parse_run(argv)
    except PolicyError:
        return
    read = " ".join((*run.start, *(option.words for option in run.options))).split()
    joined = " ".join((*read, *run.rest)).replace("-- ", "")
    for word in (*read, *run.rest):
        assert word in argv, joined
    assert tuple(argv[-len(run.rest) :]) == run.rest


@each("program", ["docker", "/usr/local/bin/podman", "docker.exe"])
def test_programs_of_containers_are_recognised(program: str) -> None:
    assert is_of_containers([program, "run"])
    assert not is_of_containers([f"{program}-mcp"])


@pytest.mark.needs("podman")
def test_the_options_are_those_of_podman() -> None:
    """Each that podman has is read as it reads it, or refused."""
    program = find_podman()
    assert program is not None
    text = subprocess.run([program, "run", "--help"], capture_output=True, text=True, check=True)
    for line in text.stdout.splitlines():
        words = line.replace(",", "").split()
        if not words or not words[0].startswith("-"):
            continue
        name = next(word for word in words if word.startswith("--"))
        kind = [*words, ""][words.index(name) + 1]
        takes_value = kind.islower() and kind.rstrip("s") in (
            *("string", "int", "uint", "float", "stringArray", "device", "tmpfs"),
        )
        if takes_value and name in FLAGS | VALUES:
            assert name in VALUES, line
        if name in FLAGS:
            assert not takes_value, line


@each("words", ["", "-v /work/other:/o", "-v data:/data", "--mount type=tmpfs,dst=/t"])
def test_a_path_that_no_mount_has_is_refused_with_the_words_that_mount_it(words: str) -> None:
    path = ("/work/data",)
    for profile, access in ((Profile(read=path), ":ro."), (Profile(write=path), ".")):
        with pytest.raises(PolicyError) as refused:
            judged(f"docker run {words} {IMAGE}", profile=profile)
        assert str(refused.value).endswith(f"-v /work/data:/work/data{access}")


@each("words", ["-v /work/data/a:/a", "-v /work:/w:ro", "--mount type=bind,src=./data,dst=/d"])
def test_a_path_that_is_mounted_may_be_named(words: str) -> None:
    assert judged(f"docker run {words} {IMAGE}", profile=Profile(read=("/work/data",)))


@each(
    "profile, instead",
    [
        (Profile(hosts=("example.com",)), "--network bridge"),
        (Profile(loopback=(80,)), "--network bridge"),
        (Profile(keeps_home=True), "-v NAME:/FOLDER"),
    ],
)
def test_a_grant_that_no_container_holds_is_refused(profile: Profile, instead: str) -> None:
    with pytest.raises(PolicyError, match=instead):
        judged(f"docker run {IMAGE}", profile=profile)
