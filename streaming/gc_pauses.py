"""Keeps the garbage collector and the interpreter's turns from holding up the event loop while others work."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_SWITCH_INTERVAL = 0.0001
"""Seconds after which a busy thread gives up the interpreter, while many objects are made or freed."""

_usual_switch_interval = sys.getswitchinterval()
_lock = threading.Lock()
_active = 0


def raise_threshold() -> None:
    """Fewer collections for a process that relays streams.

    A batch of a fast stream is some ten thousand small objects that live for a moment. At Python's own threshold (700)
    the collector looks at them again and again: 6 of 14 µs an event, with a stream of 100,000 events at once.
    """
    gc.set_threshold(50_000, 10, 10)


@contextmanager
def no_long_pauses() -> Iterator[None]:
    """Lets the other threads run while this one makes, or frees, very many objects.

    The collector of cycles stops all threads while it looks through them: for up to 0.7 s where there are 100,000
    rules. So it rests. And the loop, which gives its turn away with each read and write of a socket, has it back
    after a tenth of a millisecond, not after five.
    """
    global _active
    with _lock:
        _active += 1
        if _active == 1:
            sys.setswitchinterval(SHORT_SWITCH_INTERVAL)
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if not _active:
                gc.enable()
                sys.setswitchinterval(_usual_switch_interval)
