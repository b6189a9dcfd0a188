"""Confines a server: what it may read, write and reach is named, and everything else is not there.

`profile` is what is granted, `runtimes` what its program needs to run at all, `view` the files that
it then sees. An engine makes it so: `bubblewrap` with the kernel's namespaces and `seccomp`.
"""
