"""Returns memory to the system: pages of mapped files, and what the C library freed (mallopt(3)).

By default, glibc raises its threshold with each large block that is freed, and gives each thread an
arena of its own, which retains freed memory: the process keeps that of a large frame or page.
"""

from __future__ import annotations

import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # <malloc.h>
_LARGE_BLOCK_BYTES = 256 * 1024


def return_large_blocks(arenas: int = 0) -> None:
    """Let glibc return large blocks once they are freed.

    Args:
        arenas: the limit, for a process of many threads; 0 for one for each thread.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and retains less
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
    if arenas:
        mallopt(_M_ARENA_MAX, arenas)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK_BYTES)


def return_freed_memory() -> None:
    """Let glibc return all freed memory now, between blocks in use as well (malloc_trim(3))."""
    if sys.platform == "linux":
        import ctypes

        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # musl has none


def drop_pages(content: bytes | memoryview) -> None:
    """Drop a mapped file's pages from this process; those that are used again are mapped again."""
    if sys.platform != "win32" and isinstance(content, memoryview):
        import mmap

        if isinstance(content.obj, mmap.mmap):
            content.obj.madvise(mmap.MADV_DONTNEED)
