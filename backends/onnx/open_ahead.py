"""Opening one weight while another is written, so that reading the one and turning the other take place at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from tfgraph.ir.blocks import Matrix, Scratch, open_matrix
from tfgraph.ir.constant import Constant

_MOST_BYTES: Final = 2**28  # of two weights that may be in memory together


class _Opened(NamedTuple):
    """A constant that is open, or being opened; closing the stack closes it."""

    stack: ExitStack
    matrix: Future[Matrix]


@contextmanager
def open_ahead(constants: Sequence[Constant]) -> Iterator[Iterator[Matrix]]:
    """The constants as matrices, one after the other, each valid until the next is asked for.

    The next is read by a second thread in the meantime, unless the two are too large for that.

    Raises:
        CheckpointError: (when the matrix is asked for) its file is gone, or shorter than it was.
    """
    with ExitStack() as everything, ThreadPoolExecutor(1, thread_name_prefix="tfgraph-open-ahead") as thread:
        scratch = Scratch()

        def start(constant: Constant) -> _Opened:
            stack = ExitStack()
            everything.push(stack)
            return _Opened(stack, thread.submit(_open, constant, scratch, stack))

        def matrices() -> Iterator[Matrix]:
            ahead: _Opened | None = None
            for index, constant in enumerate(constants):
                current, ahead = ahead or start(constant), None
                matrix = current.matrix.result()
                if index + 1 < len(constants) and constant.nbytes + constants[index + 1].nbytes <= _MOST_BYTES:
                    ahead = start(constants[index + 1])
                yield matrix
                current.stack.close()

        yield matrices()


def _open(constant: Constant, scratch: Scratch, stack: ExitStack) -> Matrix:
    matrix = stack.enter_context(open_matrix(constant, scratch))
    matrix.prepare()
    return matrix
