/* Takes on Landlock's rules (landlock(7)) and executes a server; run inside the sandbox.
 *
 *     _landlock RULES SELF PROGRAM ARGUMENT...
 *
 * RULES is a descriptor of what isolation/landlock.py writes, SELF one of this program; both are closed.
 * The rules are fields that each end with NUL: the accesses to files that are ruled, the scopes, and
 * then for each path the accesses that are given and the path; numbers in hexadecimal. A path that
 * cannot be opened gives nothing. Whatever else fails ends this before the server runs.
 *
 * It has no C library: what it runs among is the server's, and it is to depend on nothing there.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/stat.h>

/* linux/landlock.h, which older headers lack or have without scopes. */
#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define RULE_PATH_BENEATH 1
#define OF_FILES 0x0000c007 /* EXECUTE, WRITE_FILE, READ_FILE, TRUNCATE, IOCTL_DEV */

#define NOT_RUNNABLE 126
#define NOT_FOUND 127
#define ERROR_MOST 4095

typedef unsigned long long u64;

struct ruleset {
    u64 files, network, scopes;
};

struct beneath {
    u64 allowed;
    int parent;
} __attribute__((packed));

static long call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "no system calls are known for this machine"
#endif
}

static long length(const char *text)
{
    long count = 0;
    while (text[count])
        count++;
    return count;
}

static void say(const char *text)
{
    call(__NR_write, 2, (long)text, length(text), 0, 0, 0);
}

static const char *reason(long error)
{
    switch (-error) {
    case ENOENT: return "No such file or directory";
    case EACCES: return "Permission denied";
    case ENOEXEC: return "Exec format error";
    case E2BIG: return "Argument list too long";
    case ENOMEM: return "Cannot allocate memory";
    default: return "refused by the kernel";
    }
}

static void end(const char *what, long error, int code)
{
    say("pipeguard: ");
    say(what);
    say(": ");
    say(reason(error));
    say("\n");
    for (;;)
        call(__NR_exit_group, code, 0, 0, 0, 0, 0);
}

static long checked(long result, const char *what)
{
    if (result < 0 && result >= -ERROR_MOST)
        end(what, result, NOT_RUNNABLE);
    return result;
}

static u64 number(const char *text)
{
    u64 value = 0;
    for (; *text; text++)
        value = value * 16 + (*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return value;
}

static const char *after(const char *text)
{
    return text + length(text) + 1;
}

static void give(long ruleset, u64 allowed, const char *path)
{
    struct statx found;
    struct beneath rule;
    long file = call(__NR_openat, AT_FDCWD, (long)path, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0, 0, 0);
    if (file < 0)
        return;
    checked(call(__NR_statx, file, (long)"", AT_EMPTY_PATH, STATX_TYPE, (long)&found, 0), path);
    rule.allowed = S_ISDIR(found.stx_mode) ? allowed : allowed & OF_FILES;
    rule.parent = file;
    if (rule.allowed && !S_ISLNK(found.stx_mode))
        checked(call(ADD_RULE, ruleset, RULE_PATH_BENEATH, (long)&rule, 0, 0, 0), path);
    call(__NR_close, file, 0, 0, 0, 0, 0);
}

static void restrict_self(long file)
{
    struct statx found;
    struct ruleset ruled;
    const char *rules, *last;
    long ruleset;

    checked(call(__NR_statx, file, (long)"", AT_EMPTY_PATH, STATX_SIZE, (long)&found, 0), "rules");
    rules = (const char *)checked(
        call(__NR_mmap, 0, found.stx_size, PROT_READ, MAP_PRIVATE, file, 0), "rules");
    last = rules + found.stx_size;
    ruled.files = number(rules);
    ruled.network = 0;
    rules = after(rules);
    ruled.scopes = number(rules);
    rules = after(rules);
    ruleset = checked(call(CREATE_RULESET, (long)&ruled, sizeof ruled, 0, 0, 0, 0), "Landlock");
    while (rules < last) {
        const char *path = after(rules);
        give(ruleset, number(rules) & ruled.files, path);
        rules = after(path);
    }
    checked(call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0), "no_new_privs");
    checked(call(RESTRICT_SELF, ruleset, 0, 0, 0, 0, 0), "Landlock");
    call(__NR_close, ruleset, 0, 0, 0, 0, 0);
    call(__NR_close, file, 0, 0, 0, 0, 0);
}

__attribute__((used, noreturn)) void run(long *stack)
{
    long count = *stack, result;
    char **words = (char **)(stack + 1), **variables = words + count + 1;

    if (count < 4)
        end("three arguments are needed", -EINVAL, NOT_RUNNABLE);
    call(__NR_close, number(words[2]), 0, 0, 0, 0, 0);
    restrict_self(number(words[1]));
    result = call(__NR_execve, (long)words[3], (long)(words + 3), (long)variables, 0, 0, 0);
    end(words[3], result, result == -ENOENT ? NOT_FOUND : NOT_RUNNABLE);
    __builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall run\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl run\n");
#endif
