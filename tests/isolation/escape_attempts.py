"""Tries to escape its sandbox in many ways; prints each outcome, as one JSON object.

Run inside a sandbox, by an interpreter without any package. "escaped" begins a failed outcome.
"""

# ruff: noqa: BLE001, S605
# Everything is tried, and nothing may end it; pathlib would hide which call is made.
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import platform
import resource
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
# Of x86_64 and of aarch64.
CALLS = (
    "ptrace 101 117, keyctl 250 219, add_key 248 217, bpf 321 280, mount 165 40, unshare 272 97,"
    "setns 308 268, pivot_root 155 41, chroot 161 51, open_by_handle_at 304 265, syslog 103 116,"
    "process_vm_readv 310 270, perf_event_open 298 241, io_uring_setup 425 425, clone3 435 435,"
    "userfaultfd 323 282, open_tree 428 428, fsopen 430 430, kexec_load 246 104,"
    "init_module 175 105, pidfd_getfd 438 438"
)
NUMBERS = {name: (int(x), int(arm)) for name, x, arm in map(str.split, CALLS.split(","))}
ARM = platform.machine() == "aarch64"


def call(name: str, *arguments: int) -> str:
    result = LIBC.syscall(NUMBERS[name][ARM], *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return f"escaped: {name} gave {result}"


def read(path: str) -> str:
    with open(path, "rb") as file:
        return f"escaped: {file.read(200)!r}"


def listed(path: str) -> str:
    names = os.listdir(path)
    return f"escaped: {names[:20]}" if names else "nothing there"


def write(path: str) -> str:
    with open(path, "ab") as file:
        file.write(b"x")
    return f"escaped: wrote {path}"


def may_write(path: str) -> str:
    """Open without writing: a write would affect the whole machine."""
    os.close(os.open(path, os.O_WRONLY))
    return f"escaped: may write {path}"


def of_processes(path: str) -> Iterator[bytes]:
    """The contents of a file of each process."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/{path}", "rb") as file:
                yield file.read()
        except OSError:
            continue


def others_environment(canary: str) -> str:
    found = [each for each in of_processes("environ") if canary.encode() in each]
    return f"escaped: {found}" if found else "nobody else's"


def through_proc_root(path: str) -> str:
    found = [*of_processes(f"root{path}")]
    return f"escaped: {found}" if found else "nothing there"


def memory(number: int) -> str:
    with open(f"/proc/{number}/mem", "rb") as file:
        file.seek(4096)
        return f"escaped: {file.read(1)!r}"


def signalled(number: int) -> str:
    os.kill(number, 0)
    return f"escaped: {number} can be signalled"


def symbolic(folder: str, target: str) -> str:
    path = os.path.join(folder, "link-of-the-server")
    os.symlink(target, path)
    try:
        return read(path)
    finally:
        os.unlink(path)


def hard(folder: str, target: str) -> str:
    path = os.path.join(folder, "hard-link-of-the-server")
    os.link(target, path)
    os.unlink(path)
    return f"escaped: linked {target}"


def climbed(folder: str, target: str) -> str:
    return read(os.path.join(folder, *[".."] * 30, target.lstrip("/")))


def unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(path)
    return "escaped: connected"


def connected(host: str, port: int, family: int = socket.AF_INET) -> str:
    """True only if a host outside answers: PipeGuard accepts a connection, and ends it."""
    with socket.socket(family) as sock:
        sock.settimeout(5)
        sock.connect((host, port))
        sock.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        data = sock.recv(100)
    return f"escaped: {data!r}" if data else "ended at once"


def by_name(host: str, port: int) -> str:
    found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    return connected(*found[0][4])


def datagram(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(b"\0" * 12, (host, port))
        return f"escaped: {sock.recv(100)!r}"


def proxied(target: str) -> str:
    with socket.create_connection(("127.0.0.1", 3128), 5) as sock:
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        data = sock.recv(200)
    return f"escaped: {data!r}" if b" 200 " in data[:20] else data[:12].decode()


def of_family(family: int) -> str:
    with socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM):
        return f"escaped: a socket of family {family}"


def typed_into_terminal() -> str:
    with open("/dev/tty", "rb") as file:
        fcntl.ioctl(file, 0x5412, b"x")
    return "escaped: typed"


def device() -> str:
    path = "/tmp/disk"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(8, 0))
    return "escaped: made a device"


def became_root() -> str:
    os.setuid(12345)
    return "escaped: changed its user"


def namespace_by_clone() -> str:
    # CLONE_NEWUSER | SIGCHLD, in the place of the flags of each architecture
    result = LIBC.syscall(220 if ARM else 56, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result == -1:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(result, 0)
    return "escaped: a user namespace"


def gained(program: str) -> str:
    """A program that is run as root whoever starts it."""
    status = os.popen(f"{program} -n id -u 2>&1").read()
    return f"escaped: {status}" if status.strip() == "0" and os.getuid() else "as before"


def forked_many() -> str:
    """Fork until it fails; end all children."""
    made: list[int] = []
    try:
        while len(made) < 20_000:
            number = os.fork()
            if not number:
                time.sleep(60)
                os._exit(0)
            made.append(number)
    except OSError as error:
        return f"stopped after {len(made)}: {errno.errorcode[error.errno or 0]}"
    finally:
        for number in made:
            os.kill(number, signal.SIGKILL)
        for number in made:
            os.waitpid(number, 0)
    return f"escaped: {len(made)} processes"


def filled(folder: str, limit: int) -> str:
    """Writes until nothing more fits."""
    block, written = b"\1" * 2**20, 0
    path = os.path.join(folder, "full")
    try:
        with open(path, "wb") as file:
            while written < limit:
                written += file.write(block)
                file.flush()
    except OSError as error:
        return f"stopped after {written >> 20} MiB: {errno.errorcode[error.errno or 0]}"
    finally:
        if pathlib.Path(path).exists():
            os.unlink(path)
    return f"escaped: {written >> 20} MiB"


def allocated(limit: int) -> str:
    held: list[bytes] = []
    try:
        while len(held) * 2**24 < limit:
            held.append(b"\1" * 2**24)
    except MemoryError:
        return f"stopped after {len(held) * 16} MiB"
    return f"escaped: {len(held) * 16} MiB"


def opened(limit: int) -> str:
    held: list[int] = []
    try:
        while len(held) < limit:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return f"stopped after {len(held)}: {errno.errorcode[error.errno or 0]}"
    finally:
        for descriptor in held:
            os.close(descriptor)
    return f"escaped: {len(held)} descriptors"


def raised_limit() -> str:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))
    return "escaped: raised a limit"


def netlink_protocols() -> str:
    made = []
    for protocol in (2, 4, 6, 9, 12, 15, 16):  # kernels have been opened by some of them
        try:
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()
            made.append(protocol)
        except OSError:
            continue
    return f"escaped: protocols {made}" if made else "none"


def netlink_route() -> str:
    """Adds an address to the loopback: needs a right in the network's namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, 1)
        body += struct.pack("=HH4s", 8, 2, socket.inet_aton("9.9.9.9"))
        sock.send(struct.pack("=IHHII", 16 + len(body), 20, 0x405, 1, 0) + body)
        error = struct.unpack_from("=i", sock.recv(4096), 16)[0]
    return "escaped: an address" if not error else errno.errorcode[-error]


def inherited() -> str:
    """List descriptors that the starter left open: other servers' pipes, a store, an escape."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # that of the listing
    others = {name: what for name, what in found.items() if int(name) > 2}
    return f"escaped: {others}" if others else "none"


def attempts(facts: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """All ways, by name."""
    secret, folder, number = facts["secret"], facts["folder"], facts["process"]
    yield "key", read, secret
    for place, path in enumerate(facts["files"]):
        yield f"file {place} {path}", read, path
    yield "home", listed, facts["home"]
    yield "state", listed, facts["state"]
    yield "shadow", read, "/etc/shadow"
    yield "host keys", listed, "/etc/ssh"
    yield "descriptors of others", inherited
    yield "environment", others_environment, facts["canary"]
    yield "root of processes", through_proc_root, secret
    yield "memory", memory, number
    yield "signal", signalled, number
    yield "symbolic link", symbolic, folder, secret
    yield "hard link", hard, folder, secret
    yield "climbing", climbed, folder, secret
    yield "link to it", read, os.path.join(folder, "outside")
    yield "abstract socket", unix, "\0" + facts["abstract"]
    for path in facts["sockets"]:
        yield f"socket {path}", unix, path
    for name in NUMBERS:
        yield f"call {name}", call, name, 0, 0, 0, 0, 0
    yield "clone", namespace_by_clone
    for family in (9, 17, 38, 40, 44):  # X25, PACKET, ALG, VSOCK, XDP
        yield f"family {family}", of_family, family
    yield "terminal", typed_into_terminal
    yield "device", device
    yield "user", became_root
    yield "sudo", gained, "sudo"
    yield "network", netlink_route
    yield "netlink", netlink_protocols
    for path in ("/etc/passwd", "/usr/bin/new", "/dev/new"):
        yield f"write {path}", write, path
    for path in ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory"):
        yield f"open {path}", may_write, f"/proc/sys/{path}"
    yield "open sysrq", may_write, "/proc/sysrq-trigger"
    for path in ("/proc/kcore", "/dev/mem", "/dev/kmsg", "/proc/kmsg", "/sys/kernel/vmcoreinfo"):
        yield f"device {path}", read, path
    port = facts["port"]
    yield "loopback", connected, "127.0.0.1", port
    for host in facts["addresses"]:
        yield f"address {host}", connected, host, port
        yield f"address {host} 80", connected, host, 80
    yield "IPv6", connected, "::1", port, socket.AF_INET6
    yield "mapped", connected, "::ffff:127.0.0.1", port, socket.AF_INET6
    for name in facts["names"]:
        yield f"name {name}", by_name, name, 443
        yield f"proxy {name}", proxied, f"{name}:443"
    yield "proxy address", proxied, f"127.0.0.1:{port}"
    yield "proxy mapped", proxied, f"[::ffff:127.0.0.1]:{port}"
    yield "proxy number", proxied, f"2130706433:{port}"
    yield "datagram", datagram, "8.8.8.8", 53
    yield "processes", forked_many
    yield "disk /tmp", filled, "/tmp", 2**29
    yield "disk root", filled, "/", 2**29
    yield "disk home", filled, facts["home"], 2**29
    yield "disk shared memory", filled, "/dev/shm", 2**29
    yield "memory of its own", allocated, 2**30
    yield "descriptors of its own", opened, 100_000
    yield "limit", raised_limit


def main() -> None:
    """Try them all."""
    outcomes = {}
    for name, function, *arguments in attempts(json.loads(sys.argv[1])):
        try:
            outcomes[name] = function(*arguments)
        except MemoryError:
            outcomes[name] = "MemoryError"
        except Exception as error:
            number = getattr(error, "errno", None)
            outcomes[name] = errno.errorcode.get(number or 0, type(error).__name__)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
