"""The effects of a call's arguments: its commands, statements and paths, undisguised.

Turns arguments into plain lines (`$ rm -r /`, `< ~/.ssh/id_rsa`) that rules are run over. Runs
nothing, opens nothing, and knows no rule. Begin with `effects`, which reads each argument by its
role; then `interpret`, which follows commands; `posix_shell` and `powershell` undo disguises.
"""

# PipeGuard's files in this process, where they are elsewhere; `\n` before a whole relative path.
# Here, because a start knows them before it needs what reads calls (`own`).
OWN_NAMES: set[str] = set()
