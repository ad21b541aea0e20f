"""Replacing the files of a folder all together or not at all.

New files are made in a folder inside, and take the places of the old ones when all of them are complete. Whatever stops
the work before that, a lost process included, leaves the old files whole; what it leaves behind is cleared away, or put
back, by whoever comes next. Which files there are is the business of `exporter.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from tfgraph.errors import ExportError

STAGING_FOLDER: Final = ".tfgraph-partial"
_NEW: Final = "new"
_OLD: Final = "old"
_LOCK: Final = "lock"


class Staging:
    """New files on their way into `target`: write them into `folder`, then call `commit`."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target / STAGING_FOLDER / _NEW
        self._old = target / STAGING_FOLDER / _OLD

    def commit(self, last: str, obsolete: Iterable[str] = ()) -> None:
        """Put every file made in `folder` into its place, and remove those named in `obsolete`.

        The file named `last` goes first of the old ones and comes last of the new ones, so that it is never beside
        files of another set.

        Raises:
            ExportError: a folder lies where a file goes, or the file system refuses; every old file is back in place.
        """
        new = sorted(path.name for path in self.folder.iterdir())
        for name in new:
            if (self.target / name).is_dir():
                raise ExportError(f"cannot write {self.target / name}: a folder lies there. Move it away, and try again")
            _flush(self.folder / name)
        replaced = {name for name in {*new, *obsolete} if (self.target / name).is_file()}
        self._old.mkdir()
        moved: list[str] = []
        try:
            for name in sorted(replaced, key=lambda name: (name != last, name)):
                os.replace(self.target / name, self._old / name)
            for name in sorted(new, key=lambda name: (name == last, name)):
                os.replace(self.folder / name, self.target / name)
                moved.append(name)
        except BaseException:
            if last not in moved:  # else every new file is in place, and only what came after was interrupted
                for name in moved:
                    (self.target / name).unlink(missing_ok=True)
                _put_back(self._old, self.target, last)
            raise
        _flush_folder(self.target)


@contextmanager
def replacing(target: Path, last: str) -> Iterator[Staging]:
    """A `Staging` for the folder `target`, which is made if need be; `last` is the file that `Staging.commit` is given.

    Raises:
        ExportError: the folder cannot be made or written, or another export is writing into it.
    """
    made = _make(target)
    try:
        with _refusals_of(target), _locked(target):
            _put_back(target / STAGING_FOLDER / _OLD, target, last)
            _clear(target / STAGING_FOLDER)
            staging = Staging(target)
            staging.folder.mkdir()
            try:
                yield staging
            finally:
                _clear(target / STAGING_FOLDER)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                target.rmdir()  # if nothing came of it
        raise


def recover(target: Path, last: str) -> None:
    """Put old files back that a lost process had already moved aside. Does nothing where there are none.

    Raises:
        ExportError: another process is replacing the files right now, or the folder cannot be written.
    """
    if (target / STAGING_FOLDER / _OLD / last).is_file():
        with _refusals_of(target), _locked(target):
            _put_back(target / STAGING_FOLDER / _OLD, target, last)


def _make(target: Path) -> bool:
    """Make the folder if it is not there, and say whether it was made."""
    with _refusals_of(target):
        if target.is_dir():
            return False
        if target.exists() or target.is_symlink():
            raise ExportError(f"cannot export into {target}: it is a file, and a folder is expected. Choose another name")
        if not target.parent.is_dir():
            raise ExportError(
                f"cannot export into {target}: the folder {target.parent} does not exist. Make it first, or choose "
                "another place"
            )
        target.mkdir()
        return True


@contextmanager
def _refusals_of(target: Path) -> Iterator[None]:
    """What the file system refuses, as an error that says what to do."""
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


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """While the files of `target` are replaced: nobody else replaces them. A lost process holds no lock."""
    folder = target / STAGING_FOLDER
    folder.mkdir(exist_ok=True)
    try:
        with (folder / _LOCK).open("w") as file:
            if not _lock(file):
                raise ExportError(f"another export is writing into {target}: wait until it has finished, and try again")
            try:
                yield
            finally:
                if sys.platform != "win32":  # there, a file that is open cannot be removed
                    (folder / _LOCK).unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()


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


def _put_back(old: Path, target: Path, last: str) -> None:
    """Move what was moved aside to its place again, `last` at the end."""
    if old.is_dir():
        for name in sorted((path.name for path in old.iterdir()), key=lambda name: (name == last, name)):
            os.replace(old / name, target / name)


def _clear(folder: Path) -> None:
    """Remove everything in the staging folder but the lock."""
    for name in (_NEW, _OLD):
        if (folder / name).exists():
            shutil.rmtree(folder / name, ignore_errors=True)


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
