"""The counters of this process: shared with other workers if there is Redis."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from django.core.exceptions import ImproperlyConfigured

from streaming import conf
from streaming.counters.counters import Counters
from streaming.counters.memory import MemoryCounters

_counters: WeakKeyDictionary[asyncio.AbstractEventLoop, Counters] = WeakKeyDictionary()


def counters() -> Counters:
    """The counters of this process (to be exact, of its event loop)."""
    loop = asyncio.get_running_loop()
    if loop not in _counters:
        _counters[loop] = _create()
    return _counters[loop]


def _create() -> Counters:
    if not (url := conf.redis_url()):
        return MemoryCounters()
    try:
        from streaming.counters.redis import RedisCounters
    except ImportError as error:
        raise ImproperlyConfigured(
            "REDIS_URL is set, and redis is not installed: pip install 'django-streaming-llm[redis]'"
        ) from error
    return RedisCounters(url)


async def close() -> None:
    """Frees what this process holds, so that other workers have it at once."""
    if found := _counters.pop(asyncio.get_running_loop(), None):
        await found.close()
