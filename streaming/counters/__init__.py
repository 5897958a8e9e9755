"""Counts for limits: requests in a period, slots for open streams; in this process or, with Redis, in all workers."""

from streaming.counters.counters import Admission, Counters, Limit, Rate, Slots
from streaming.counters.memory import MemoryCounters
from streaming.counters.shared import close, counters

__all__ = ["Admission", "Counters", "Limit", "MemoryCounters", "Rate", "Slots", "close", "counters"]
