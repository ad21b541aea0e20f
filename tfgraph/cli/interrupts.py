"""Ctrl-C as a wish to stop, for commands that have something to show for the work so far.

What becomes of an interruption that nobody waits for is in `app.py`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_at_interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed inside; the first time is only noted, the second raises KeyboardInterrupt as usual.

    Where interrupts are not Python's own to handle, as in a thread or under `nohup`, they stay what they are.
    """
    pressed = threading.Event()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed.is_set
        return

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
