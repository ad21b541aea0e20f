"""A file of weights, written panel by panel while the next panel is being made.

What goes where in it is decided in `external_data.py`. Two things make large files fast and small in memory: panels are
written by a second thread, and the system is told early to put them on the disk. In a file too large to be worth
keeping in memory their pages are then given up, so that those of other files, and the time to make room, are spared.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
        return buffer if buffer.nbytes >= nbytes else np.empty(max(nbytes, PANEL_BYTES), np.uint8)

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
        if error is None:
            for _, writing in self._outstanding:
                writing.result()

    def _write(self, content: memoryview, offset: int) -> None:
        """In the second thread: write one panel."""
        end = offset + content.nbytes
        self._file.seek(offset)
        while content:
            content = content[self._file.write(content) :]
        self._pages.written_to(end)


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
            os.posix_fadvise(self._descriptor, start, _STRETCH_BYTES, os.POSIX_FADV_DONTNEED)
