"""Replacing the files of a folder all together or not at all.

New files are made in a folder inside, and take the places of the old ones when all of them are complete. Whatever
stops the work before that, the end of the process included, leaves the old files whole; what it leaves behind is
cleared away, or put back, by whoever comes next. Which files there are is the business of `exporter.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from tfgraph.errors import ExportError

STAGING_FOLDER: Final = ".tfgraph-partial"
_NEW: Final = "new"
_OLD: Final = "old"
_LOCK: Final = "lock"


class Staging:
    """New files on their way into `target`: write them into `folder`, then call `commit`.

    The file named `last` is the mark of a complete set: of the old files it goes first, of the new ones it comes last.
    """

    def __init__(self, target: Path, last: str) -> None:
        self.target = target
        self.last = last
        self.folder = target / STAGING_FOLDER / _NEW

    def commit(self, obsolete: Iterable[str] = ()) -> None:
        """Put every file made in `folder` into its place, and remove those named in `obsolete`.

        Raises:
            ExportError: a folder lies where a file goes, or the file system refuses; every old file is back in place.
        """
        with refusals_of(self.target):
            new = sorted((path.name for path in self.folder.iterdir()), key=self._order)
            for name in new:
                if (self.target / name).is_dir():
                    raise ExportError(
                        f"cannot write {self.target / name}: a folder lies there. Move it away, and try again"
                    )
                _flush(self.folder / name)
            old = self.target / STAGING_FOLDER / _OLD
            replaced = {name for name in {*new, *obsolete} if (self.target / name).is_file()}
            old.mkdir()
            try:
                for name in sorted(replaced, key=self._order, reverse=True):
                    os.replace(self.target / name, old / name)
                for name in new:
                    os.replace(self.folder / name, self.target / name)
            except BaseException:
                if (self.folder / self.last).exists():  # else every new file is in place
                    for name in new:
                        if not (self.folder / name).exists():
                            (self.target / name).unlink(missing_ok=True)
                    _put_back(self.target, self.last)
                raise
            _flush_folder(self.target)

    def _order(self, name: str) -> tuple[bool, str]:
        return name == self.last, name


@contextmanager
def replacing(target: Path, last: str) -> Iterator[Staging]:
    """A `Staging` for the folder `target`, which is made if need be.

    Raises:
        ExportError: the folder cannot be made or written, or another export is writing into it.
    """
    made = _make(target)
    try:
        with ExitStack() as stack:
            with refusals_of(target):
                stack.enter_context(_locked(target))
                _put_back(target, last)
                _clear(target)
                staging = Staging(target, last)
                staging.folder.mkdir()
            try:
                yield staging
            finally:
                _clear(target)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                target.rmdir()  # if nothing came of it
        raise


def recover(target: Path, last: str) -> None:
    """Put old files back that a process had moved aside when it ended. Does nothing where there are none.

    Raises:
        ExportError: another process is replacing the files right now, or the folder cannot be written.
    """
    if os.path.isfile(target / STAGING_FOLDER / _OLD / last):
        with refusals_of(target), _locked(target):
            _put_back(target, last)
            _clear(target)


@contextmanager
def refusals_of(target: Path) -> Iterator[None]:
    """What the file system refuses, as an `ExportError` that says what to do."""
    try:
        yield
    except ExportError:
        raise
    except PermissionError as error:
        raise ExportError(
            f"cannot write into {target}: {error.strerror}. Choose a folder that you may write to, or change its "
            "permissions"
        ) from None
    except OSError as error:
        raise ExportError(f"cannot write into {target}: {error.strerror or error}") from None


def _make(target: Path) -> bool:
    """Make the folder if it is not there, and say whether it was made."""
    with refusals_of(target):
        if target.is_dir():
            return False
        if target.exists() or target.is_symlink():
            raise ExportError(
                f"cannot export into {target}: it is a file, and a folder is expected. Choose another name"
            )
        if not target.parent.is_dir():
            raise ExportError(
                f"cannot export into {target}: the folder {target.parent} does not exist. Make it first, or choose "
                "another place"
            )
        target.mkdir()
        return True


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """While the files of `target` are replaced: nobody else replaces them. A process that ended holds no lock."""
    folder = target / STAGING_FOLDER
    folder.mkdir(exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        if not _lock(file):
            raise ExportError(f"another export is writing into {target}: wait until it has finished, and try again")
        try:
            yield
        finally:
            if sys.platform != "win32":  # there, a file that is open cannot be removed
                _remove_lock(folder)
    if sys.platform == "win32":
        _remove_lock(folder)


def _lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_lock(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _put_back(target: Path, last: str) -> None:
    """Move what was moved aside to its place again, `last` at the end; not if `last` says that a set is complete."""
    old = target / STAGING_FOLDER / _OLD
    if old.is_dir() and not (target / last).exists():
        for name in sorted((path.name for path in old.iterdir()), key=lambda name: (name == last, name)):
            os.replace(old / name, target / name)


def _clear(target: Path) -> None:
    """Remove everything in the staging folder but the lock."""
    for name in (_NEW, _OLD):
        shutil.rmtree(target / STAGING_FOLDER / name, ignore_errors=True)


def _flush(path: Path) -> None:
    """Make the bytes of a file durable before it takes another's place."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make new names durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
