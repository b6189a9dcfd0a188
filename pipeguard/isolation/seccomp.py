"""A filter of system calls, as the program that the kernel runs for each (seccomp(2), bpf(2)).

It refuses calls that need no privilege and have opened kernels before, that reach other processes,
or that make a namespace in which their caller is root. Everything else passes: a server that works
without isolation works with it. Refused calls return EPERM; those that programs replace by an older
call if the kernel lacks them return ENOSYS.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.12.
"""

import json
import struct
from collections.abc import Iterator

from pipeguard.errors import LaunchError

Instruction = tuple[int, int, int, int]  # code, jumps if true and if false, value
Condition = tuple[int, int, int]  # the place of an argument, a mask, its value under that

# linux/seccomp.h, linux/bpf_common.h, linux/audit.h, linux/sched.h
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, MASK, JUMP, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
FARTHEST = 255  # of a conditional jump
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
EPERM, ENOSYS, EPROTONOSUPPORT, EAFNOSUPPORT = 1, 38, 93, 97
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{TIME, NS, CGROUP, UTS, IPC, USER, PID, NET}
NEW_NAMESPACES_OF_CLONE = NEW_NAMESPACES & ~0x80  # there the lowest bits are a signal
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # types into the terminal; asm-generic/ioctls.h
LOWER_HALF, TOP_BIT = 0xFFFFFFFF, 1 << 31
FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
HIGHEST_FAMILY = 31  # the highest refused by its number; higher ones are refused by their bits
# Which interfaces there are is asked by it, getifaddrs(3). Its other protocols configure filters,
# watch processes and devices, and have opened kernels.
AF_NETLINK, NETLINK_ROUTE = 16, 0


_X86_64 = (
    "ptrace 101 syslog 103 personality 135 pivot_root 155 adjtimex 159 chroot 161 acct 163"
    " settimeofday 164 mount 165 umount2 166 swapon 167 swapoff 168 reboot 169 sethostname 170"
    " setdomainname 171 iopl 172 ioperm 173 init_module 175 delete_module 176 quotactl 179"
    " lookup_dcookie 212 clock_settime 227 mbind 237 set_mempolicy 238 kexec_load 246 add_key 248"
    " request_key 249 keyctl 250 migrate_pages 256 unshare 272 move_pages 279 vmsplice 278"
    " perf_event_open 298 fanotify_init 300 name_to_handle_at 303 open_by_handle_at 304"
    " clock_adjtime 305 setns 308 process_vm_readv 310 process_vm_writev 311 kcmp 312"
    " finit_module 313 kexec_file_load 320 bpf 321 userfaultfd 323 socket 41 clone 56 ioctl 16"
    " uselib 134 ustat 136 sysfs 139 vhangup 153 modify_ldt 154 _sysctl 156 create_module 174"
    " get_kernel_syms 177 query_module 178 nfsservctl 180"
)
_AARCH64 = (
    "ptrace 117 syslog 116 personality 92 pivot_root 41 adjtimex 171 chroot 51 acct 89"
    " settimeofday 170 mount 40 umount2 39 swapon 224 swapoff 225 reboot 142 sethostname 161"
    " setdomainname 162 init_module 105 delete_module 106 quotactl 60 lookup_dcookie 18"
    " clock_settime 112 mbind 235 set_mempolicy 237 kexec_load 104 add_key 217 request_key 218"
    " keyctl 219 migrate_pages 238 unshare 97 move_pages 239 vmsplice 75 perf_event_open 241"
    " fanotify_init 262 name_to_handle_at 264 open_by_handle_at 265 clock_adjtime 266 setns 268"
    " process_vm_readv 270 process_vm_writev 271 kcmp 272 finit_module 273 kexec_file_load 294"
    " bpf 280 userfaultfd 282 socket 198 clone 220 ioctl 29 nfsservctl 42 vhangup 58"
)
# Numbered alike everywhere. io_uring does work that no filter sees.
_EVERYWHERE = (
    "pidfd_getfd 438 open_tree 428 move_mount 429 fsopen 430 fsconfig 431 fsmount 432 fspick 433"
    " io_uring_setup 425 io_uring_enter 426 io_uring_register 427 clone3 435 mount_setattr 442"
    " quotactl_fd 443 process_madvise 440 process_mrelease 448 set_mempolicy_home_node 450"
    " open_tree_attr 467"
)
REPLACEABLE = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd")


def _numbers(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


ARCHITECTURES = {
    "x86_64": (0xC000003E, _numbers(f"{_X86_64} {_EVERYWHERE}")),
    "aarch64": (0xC00000B7, _numbers(f"{_AARCH64} {_EVERYWHERE}")),
}


def _refused_arguments() -> Iterator[tuple[str, int, tuple[Condition, ...]]]:
    """Calls that are refused for the lower halves of arguments: name, error and conditions."""
    for bit in _bits(NEW_NAMESPACES_OF_CLONE):
        yield "clone", EPERM, ((0, bit, bit),)
    for request in (TIOCSTI, TIOCLINUX):
        yield "ioctl", EPERM, ((1, LOWER_HALF, request),)
    for family in range(HIGHEST_FAMILY + 1):
        if family not in (*FAMILIES, AF_NETLINK):
            yield "socket", EAFNOSUPPORT, ((0, LOWER_HALF, family),)
    for bit in _bits(LOWER_HALF ^ HIGHEST_FAMILY):
        yield "socket", EAFNOSUPPORT, ((0, bit, bit),)
    for bit in _bits(LOWER_HALF ^ NETLINK_ROUTE):
        yield "socket", EPROTONOSUPPORT, ((0, LOWER_HALF, AF_NETLINK), (2, bit, bit))
    # 0 is Linux, and all ones asks what it is; others change how memory is laid out: a lower bit
    # is set and the top one is not, or the other way round.
    for bit in _bits(LOWER_HALF ^ TOP_BIT):
        yield "personality", EPERM, ((0, bit | TOP_BIT, bit),)
        yield "personality", EPERM, ((0, bit | TOP_BIT, TOP_BIT),)


def _bits(number: int) -> Iterator[int]:
    return (1 << place for place in range(number.bit_length()) if number >> place & 1)


def _refused_calls(machine: str) -> dict[str, list[tuple[int, tuple[Condition, ...]]]]:
    """The errors of each call, with conditions for each; unconditional without any."""
    found: dict[str, list[tuple[int, tuple[Condition, ...]]]] = {}
    for name, error, conditions in _refused_arguments():
        found.setdefault(name, []).append((error, conditions))
    for name in find_architecture(machine)[1]:
        found.setdefault(name, [(ENOSYS if name in REPLACEABLE else EPERM, ())])
    return found


def find_architecture(machine: str) -> tuple[int, dict[str, int]]:
    """A machine's name for itself (linux/audit.h), and the numbers of its system calls.

    Args:
        machine: as `uname -m` names it.

    Raises:
        LaunchError: they are not known here.
    """
    found = ARCHITECTURES.get(machine)
    if found is None:
        known = " and ".join(ARCHITECTURES)
        raise LaunchError(
            f"no filter of system calls is known for {machine}, only for {known}, so nothing can be"
            " isolated here."
        )
    return found


def profile_text(machine: str) -> str:
    """The filter for a machine, as containers read it (OCI runtime specification, seccomp).

    Args:
        machine: as `uname -m` names it.

    Raises:
        LaunchError: its system calls are not known here.
    """
    rules = [
        {
            "names": [name],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": error,
            "args": [
                {"index": place, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
                for place, mask, value in conditions
            ],
        }
        for name, refusals in _refused_calls(machine).items()
        for error, conditions in refusals
    ]
    # Of another architecture, the call ends the process.
    architectures = [f"SCMP_ARCH_{machine.upper()}"]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules}
    return json.dumps(profile)


def filter_program(machine: str) -> bytes:
    """The filter for a machine, as an array of `struct sock_filter`.

    Args:
        machine: as `uname -m` names it.

    Raises:
        LaunchError: its system calls are not known here.
    """
    audit, calls = find_architecture(machine)
    program = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL),  # a 32-bit call, whose numbers mean something else
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [(JUMP_GREATER_OR_EQUAL, 0, 1, X32_BIT), (RETURN, 0, 0, KILL)]
    for name, refusals in sorted(_refused_calls(machine).items(), key=lambda each: len(each[1])):
        body = [one for error, conditions in refusals for one in _refuse(error, conditions)]
        if body[0][0] == LOAD:
            body.append((LOAD, 0, 0, NUMBER_AT))
        is_far = len(body) > FARTHEST
        program.append((JUMP_EQUAL, is_far, 0 if is_far else len(body), calls[name]))
        program += [(JUMP, 0, 0, len(body))] * is_far
        program += body
    program.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _refuse(error: int, conditions: tuple[Condition, ...]) -> Iterator[Instruction]:
    """Return an error if all of these conditions hold; else fall through."""
    size = 3 * len(conditions)
    for done, (place, mask, value) in enumerate(conditions, 1):
        yield LOAD, 0, 0, ARGUMENTS_AT + 8 * place  # its lower half
        yield MASK, 0, 0, mask
        yield JUMP_EQUAL, 0, size - 3 * done + 1, value
    yield RETURN, 0, 0, ERRNO | error
