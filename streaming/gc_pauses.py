"""Keeps garbage collection, and threads that hold the GIL, from delaying the event loop."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_SWITCH_INTERVAL = 0.0001
"""Seconds after which a busy thread releases the GIL, while many objects are created or freed."""

_usual_switch_interval = sys.getswitchinterval()
_lock = threading.Lock()
_active = 0


def raise_threshold() -> None:
    """Makes garbage collections rarer in a process that relays streams.

    A batch of a fast stream is about ten thousand short-lived small objects. With Python's default threshold (700) the
    collector scans them again and again: 6 of 14 µs per event, in a stream of 100,000 events at once.
    """
    gc.set_threshold(50_000, 10, 10)


@contextmanager
def no_long_pauses() -> Iterator[None]:
    """Lets other threads run while this one creates or frees very many objects.

    Garbage collection stops all threads: for up to 0.7 s with 100,000 rules. So it is disabled here. And the event
    loop, which releases the GIL with every socket operation, gets it back within 0.1 ms instead of 5 ms.
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
