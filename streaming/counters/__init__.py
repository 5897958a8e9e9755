"""Counts requests and what is open, in this process or, with Redis, for all workers together."""

from streaming.counters.counters import Admission, Counters, Limit, Rate, Slots
from streaming.counters.memory import MemoryCounters
from streaming.counters.shared import close, counters

__all__ = ["Admission", "Counters", "Limit", "MemoryCounters", "Rate", "Slots", "close", "counters"]
