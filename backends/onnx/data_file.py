"""A file of weights, written panel by panel while the next panel is being made.

What goes where in it is decided in `external_data.py`. Two things make large files fast and small in memory: panels are
written by a second thread, and the system is told early to put them on the disk. A file too large to be worth keeping
in memory goes past the system's memory of files where it can, or is given up there when it is on the disk, so that the
pages of other files are spared, and the work of making room.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from tfgraph.ir.constant import Array

PANEL_BYTES: Final = 2**23
KEPT_BYTES: Final = 2**31
"""A file of up to this size stays in the system's memory of files, so that it can be opened at once."""

_MOST_OUTSTANDING: Final = 2  # one panel being written and one waiting, while a third is filled
_PAGE: Final = 4096
_STRETCH_BYTES: Final = 2**25  # of which the system is told together
_STRETCHES_BEHIND: Final = 2  # after so many more, a stretch should be on the disk


class DataFile:
    """A new file that panels are written into, at given places. A context: leaving it writes what is outstanding.

    Args:
        path: the file; one that exists is replaced.
        size: how large it will be.
        on_written: called with the bytes given to `write` since the last call, from the thread that gives them.

    Raises:
        OSError: (also from `panel`, and from leaving) the file cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, size: int, on_written: Callable[[int], None]) -> None:
        self._file: FileIO = path.open("wb", buffering=0)
        self._direct = None if size <= KEPT_BYTES else _open_direct(path)
        self._on_written = on_written
        self._pages = _Pages(self._file.fileno(), keep=size <= KEPT_BYTES)
        self._outstanding: deque[tuple[Array, Future[None]]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tfgraph-data-file")

    def panel(self, nbytes: int) -> Array:
        """Memory of at least `nbytes` bytes for the next panel, which must be given to `write` before another is taken.

        It is that of an earlier panel which has been written, where there is one.
        """
        buffer = np.empty(0, np.uint8)
        if len(self._outstanding) >= _MOST_OUTSTANDING:
            buffer, writing = self._outstanding.popleft()
            writing.result()
        return buffer if buffer.nbytes >= nbytes else _aligned_memory(max(nbytes, PANEL_BYTES))

    def write(self, panel: Array, nbytes: int, offset: int) -> None:
        """Write the first `nbytes` of what `panel` gave; it is not to be touched any more."""
        self._outstanding.append((panel, self._thread.submit(self._write, panel[:nbytes].data, offset)))
        self._on_written(nbytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=error is not None)
        self._file.close()
        self._close_direct()
        if error is None:
            for _, writing in self._outstanding:
                writing.result()

    def _write(self, content: memoryview, offset: int) -> None:
        """In the second thread: write one panel."""
        end = offset + content.nbytes
        if self._direct is not None and not offset % _PAGE and not content.nbytes % _PAGE:
            try:
                written = os.pwrite(self._direct, content, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                written = 0
                self._close_direct()  # the file system, or the disk, does not take this after all
            offset, content = offset + written, content[written:]
        self._file.seek(offset)
        while content:
            content = content[self._file.write(content) :]
        self._pages.written_to(end)

    def _close_direct(self) -> None:
        if self._direct is not None:
            os.close(self._direct)
            self._direct = None


def _open_direct(path: Path) -> int | None:
    """The file, to be written past the system's memory of files; None where that cannot be done."""
    if not hasattr(os, "O_DIRECT"):
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError:
        return None


def _aligned_memory(nbytes: int) -> Array:
    """Memory that begins at a page, as writing past the system's memory of files wants it."""
    memory = np.empty(nbytes + _PAGE, np.uint8)
    skipped = -memory.ctypes.data % _PAGE
    return memory[skipped : skipped + nbytes]


class _Pages:
    """What the system should do with the pages of a file that is written from its beginning to its end."""

    def __init__(self, descriptor: int, keep: bool) -> None:
        self._descriptor = descriptor
        self._keep = keep
        self._told = 0

    def written_to(self, end: int) -> None:
        """Everything before `end` has been written.

        POSIX_FADV_DONTNEED starts the writing of pages that are not on the disk yet, and gives up those that are.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        while end - self._told >= _STRETCH_BYTES:
            self._advise(self._told)
            if not self._keep:
                self._advise(self._told - _STRETCHES_BEHIND * _STRETCH_BYTES)
            self._told += _STRETCH_BYTES

    def _advise(self, start: int) -> None:
        if start >= 0:
            with suppress(OSError):  # it is only advice
                os.posix_fadvise(self._descriptor, start, _STRETCH_BYTES, os.POSIX_FADV_DONTNEED)
