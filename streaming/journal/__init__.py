"""Keeps the events of every stream for a while, so that clients can resume it: see journal.py."""

from streaming.journal.errors import AlreadyClaimed, Gap, JournalError, JournalFull, StoreUnavailable, UnknownStream
from streaming.journal.journal import Journal, Limits, OnStop, StreamState
from streaming.journal.log import WHOLE, LogReader, StreamInfo, StreamLog
from streaming.journal.memory import MemoryJournal

__all__ = [
    "WHOLE",
    "AlreadyClaimed",
    "Gap",
    "Journal",
    "JournalError",
    "JournalFull",
    "Limits",
    "LogReader",
    "MemoryJournal",
    "OnStop",
    "StoreUnavailable",
    "StreamInfo",
    "StreamLog",
    "StreamState",
    "UnknownStream",
]
