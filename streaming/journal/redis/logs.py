"""The logs of streams that are shared: by the worker that drives one, and the copies in other workers."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from streaming.journal.errors import Gap, UnknownStream
from streaming.journal.log import StreamInfo, StreamLog, without_first
from streaming.journal.memory import KeptLog, MemoryJournal

Entries = list[tuple[bytes, dict[bytes, bytes]]]
"""What Redis answers of a stream's log: see scripts.py."""


class SharedLog(KeptLog):
    """The log of a stream that is driven by this worker and shared with the others."""

    def __init__(
        self, info: StreamInfo, max_bytes: int, memory: MemoryJournal, store: Callable[[SharedLog], None]
    ) -> None:
        super().__init__(info, max_bytes, memory)
        self.epoch = 1
        self.stored = -1
        """The number of the last event stored in Redis."""
        self.ttl_set_at = 0.0
        self.may_be_stored = self.is_discarded = False
        """Whether Redis was asked to create the stream, and did not refuse; and whether it is to be deleted there."""
        self._store = store

    def append(self, data: bytes, count: int) -> None:
        super().append(data, count)
        self._store(self)

    def end(self, reason: str) -> None:
        super().end(reason)
        self._store(self)


class Replica(StreamLog):
    """A copy of the log of a stream that another worker drives, as far as it is stored in Redis."""

    is_driven_here = False

    def __init__(self, info: StreamInfo, max_bytes: int, first: int, worker: str) -> None:
        super().__init__(info, max_bytes, first)
        self.worker = worker

    @property
    def is_live(self) -> bool:
        return not self.ended and self.has_room

    def take_in(self, identity: bytes, fields: dict[bytes, bytes]) -> None:
        """Adds an entry of the log in Redis. Raises Gap, or UnknownStream if the stream failed before it began."""
        last, data = int(identity.partition(b"-")[0]) - 1, fields.get(b"d", b"")
        if fields.get(b"e") == b"discarded":
            raise UnknownStream("the stream failed before it began")
        if data and last > self.last:
            first = int(fields[b"f"])
            if first > self.last + 1:
                raise Gap("the store has lost a part of the stream")
            if b"w" in fields:
                self.append_whole(data, last)
            else:
                self.append(without_first(data, self.last + 1 - first), last - self.last)
        if b"e" in fields:
            self.end(fields[b"e"].decode())


def replica_of(stream: str, meta: dict[bytes, bytes], entries: Entries, max_bytes: int) -> Replica:
    """The copy of a stream, from what Redis has of it. Raises Gap or UnknownStream as ``take_in`` does."""
    replica = Replica(info_of(stream, meta), max_bytes, _first_of(entries), meta[b"worker"].decode())
    for identity, fields in entries:
        replica.take_in(identity, fields)
    return replica


def info_of(stream: str, meta: dict[bytes, bytes]) -> StreamInfo:
    text = {key: meta[key.encode()].decode() for key in ("owner", "dialect", "claim", "fingerprint")}
    return StreamInfo(stream, last_words=meta[b"words"], **text)


def _first_of(entries: Entries) -> int:
    """The number of the first event from which on there is no gap."""
    begin, after = 0, 0
    for identity, fields in entries:
        if b"f" in fields:
            if int(fields[b"f"]) > after:
                begin = int(fields[b"f"])
            after = int(identity.partition(b"-")[0])
    return begin


def numbered(template: bytes, first: int) -> tuple[bytes, int]:
    """The template with numbers in place of its NULs, and the last number."""
    pieces, numbers = template.split(b"\0"), itertools.count(first)
    data = pieces[0] + b"".join(str(next(numbers)).encode() + piece for piece in pieces[1:])
    return data, first + max(template.count(b"\0"), 1) - 1
