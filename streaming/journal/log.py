"""What was sent of one stream, in memory: one driver appends, any number of readers follow."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from streaming.journal.compaction import compact
from streaming.journal.errors import Gap

READ_BYTES = 64 * 1024
"""What one read gives at most, give or take a batch: a client that is far behind is one of many."""

BATCH_OVERHEAD = 180
"""Bytes that a batch takes besides its data: two objects, two numbers. An event is often smaller."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream before its first event."""

    id: str
    owner: str = ""
    """Who may come back to it. Empty: whoever knows the id."""
    dialect: str = "native"
    """The format of its events. Only those of "native" can be compacted."""
    last_words: bytes = b""
    """The events that end the stream should its worker die, with a NUL wherever an event has its number."""
    claim: str = ""
    """The idempotency key that stands for it, made unique for its owner."""
    fingerprint: str = ""
    """Of the request's body: another body under the same key is a conflict."""


PACKED_BYTES = 16 * 1024
"""Of the batches of a stream that has ended."""


class Batch(NamedTuple):
    last: int
    """The number of its last event."""
    data: bytes
    end: int
    """How many bytes of the stream end with it."""
    is_whole: bool = False
    """Whether it is given whole, wherever in its numbers a reader stands."""


class StreamLog:
    """The batches of one stream, the oldest of which go when there are more than ``max_bytes`` of them.

    What an attached reader has not read yet stays; ``has_room`` tells the driver when to wait for it.
    """

    is_driven_here = True

    def __init__(self, info: StreamInfo, max_bytes: int, first: int = 0) -> None:
        self.info = info
        self.first = first
        """The number of the oldest event that is here."""
        self.last = first - 1
        self.ended = ""
        self.on_size: Callable[[int], None] | None = None
        """Told how many bytes of memory there are more, or fewer."""
        self.on_reader_joined: Callable[[], None] | None = None
        self.on_reader_left: Callable[[LogReader], None] | None = None
        self._max_bytes = max_bytes
        self._batches: list[Batch] = []
        self._start = self._end = 0  # bytes of the stream: before the first batch, and after the last
        self._readers: set[LogReader] = set()
        self._error: Exception | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """Of its events, in bytes."""
        return self._end - self._start

    @property
    def readers(self) -> int:
        return len(self._readers)

    def append(self, data: bytes, count: int) -> None:
        """Adds a batch of so many encoded events."""
        self._add(data, self.last + count)

    def append_whole(self, data: bytes, last: int) -> None:
        """Adds a batch whose events have numbers of their own, the last of them this one."""
        self._add(data, last, is_whole=True)

    def _add(self, data: bytes, last: int, *, is_whole: bool = False) -> None:
        if not data:
            return
        self.last = last
        self._end += len(data)
        self._batches.append(Batch(last, data, self._end, is_whole))
        self._count(len(data) + BATCH_OVERHEAD)
        if self._end - self._start > self._max_bytes:
            self._trim()
        self._wake()

    def end(self, reason: str) -> None:
        """Nothing follows. The first reason counts."""
        self.ended = self.ended or reason
        self._join()
        self._wake()
        self.give_room()

    def fail(self, error: Exception) -> None:
        """Readers get what is here, and then this error."""
        self._error = self._error or error
        self._wake()
        self.give_room()

    def pack(self) -> None:
        """Nothing more comes: what is kept takes the place of its data, and little more."""
        packed, pieces = list[Batch](), list[Batch]()
        for batch in self._batches:
            if pieces and (batch.is_whole or pieces[0].is_whole or batch.end - pieces[0].end > PACKED_BYTES):
                packed.append(_joined(pieces))
                pieces = []
            pieces.append(batch)
        self._batches = [*packed, *([_joined(pieces)] if pieces else [])]

    def release(self) -> None:
        """It is not kept any longer; those who are reading still may."""
        self._count(-self.size - len(self._batches) * BATCH_OVERHEAD)
        self.on_size = None

    def _count(self, change: int) -> None:
        if self.on_size:
            self.on_size(change)

    def _join(self) -> None:
        """It is kept for minutes, and nothing is added any more: a batch for each event would weigh more than they."""
        before, joined = len(self._batches), list[Batch]()
        for (is_whole, _), group in groupby(self._batches, key=_stretch_of):
            batches = list(group)
            if is_whole or len(batches) == 1:
                joined += batches
            else:
                last = batches[-1]
                joined.append(Batch(last.last, b"".join([batch.data for batch in batches]), last.end))
        self._batches = joined
        self._count((len(joined) - before) * BATCH_OVERHEAD)

    def reader(self, after: int | None = None) -> LogReader:
        """Gap if what follows this event is not all here."""
        position = -1 if after is None else after
        if position + 1 < self.first:
            raise Gap("the beginning of what was asked for is not kept any more")
        return self._joined(LogReader(self, position, self.offset_of(position), self.last if after is None else -1))

    def stand_in(self) -> LogReader:
        """A reader that only stands somewhere, at first at the beginning: the data is read elsewhere."""
        return self._joined(LogReader(self, self.first - 1, self._start, -1))

    def _joined(self, reader: LogReader) -> LogReader:
        self._readers.add(reader)
        if self.on_reader_joined:
            self.on_reader_joined()
        return reader

    def slowest_position(self) -> int:
        return min((reader.position for reader in self._readers), default=self.last)

    @property
    def has_room(self) -> bool:
        """Whether more may be sent ahead of the slowest reader."""
        return self._end - self._start <= self._max_bytes or self._end - self._slowest() <= self._max_bytes

    async def until_room(self) -> None:
        while not (self.has_room or self.ended or self._error):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def after(self, position: int, max_bytes: int) -> tuple[bytes, int]:
        """What follows this event, some ``max_bytes`` of it, and the number of the last event in that.

        Begins with the oldest event that is here if those before it are not.
        """
        batches, data, size = self._batches, list[bytes](), 0
        index = first_index = self._index_of(position)
        while index < len(batches) and size < max_bytes:
            data.append(batches[index].data)
            size += len(data[-1])
            index += 1
        if not data:
            return b"", position
        if not batches[first_index].is_whole:
            begin = batches[first_index - 1].last + 1 if first_index else self.first
            data[0] = without_first(data[0], position + 1 - begin)
        return b"".join(data), batches[index - 1].last

    def _index_of(self, position: int) -> int:
        if self._batches and self._batches[-1].last <= position:
            return len(self._batches)
        return bisect_right(self._batches, position, key=_last_of)

    def offset_of(self, position: int) -> int:
        index = self._index_of(position)
        return self._batches[index - 1].end if index else self._start

    def _slowest(self) -> int:
        return min((reader.offset for reader in self._readers), default=self._end)

    def _trim(self) -> None:
        # An eighth at a time, so that its cost is shared by many batches.
        keep_from = min(self._end - self._max_bytes * 7 // 8, self._slowest())
        index = bisect_right(self._batches, keep_from, key=_end_of)
        if not index:
            return
        oldest = self._batches[index - 1]
        del self._batches[:index]
        self._count(self._start - oldest.end - index * BATCH_OVERHEAD)
        self._start, self.first = oldest.end, oldest.last + 1

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()

    def give_room(self) -> None:
        if self._room and not self._room.done():
            self._room.set_result(None)

    def _take(self, reader: LogReader) -> bytes:
        data, last = self.after(reader.position, READ_BYTES)
        if data:
            reader.offset = self.offset_of(last)
            reader.position = last
            self.give_room()
        return data

    def _detach(self, reader: LogReader) -> None:
        self._readers.discard(reader)
        self.give_room()
        if self.on_reader_left:
            self.on_reader_left(reader)


class LogReader:
    """Follows one log from a position: ``read`` gives encoded events as they come, and nothing at the end."""

    def __init__(self, log: StreamLog, position: int, offset: int, compact_until: int) -> None:
        self.log = log
        self.position = position
        """The number of the last event that was read."""
        self.offset = offset
        self._compact_until = compact_until if log.info.dialect == "native" else -1
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """More events, as soon as there are some. Empty at the end. To cancel it loses nothing.

        Gap, StoreUnavailable or UnknownStream when the log cannot be followed any further.
        """
        while not (data := self.take()):
            if self.log._error:
                raise self.log._error
            if self.log.ended:
                return b""
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return data

    def take(self) -> bytes:
        """What there is now."""
        catches_up = self.position < self._compact_until
        data = self.log._take(self)
        return compact(data) if catches_up and data else data

    def wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def move_to(self, position: int) -> None:
        """Where it stands when what it reads is taken elsewhere: by another worker's readers."""
        self.position, self.offset = position, self.log.offset_of(position)
        self.log.give_room()

    def close(self) -> None:
        """More than once does no harm."""
        if self in self.log._readers:
            self.log._detach(self)


def _joined(batches: list[Batch]) -> Batch:
    return batches[-1]._replace(data=b"".join(batch.data for batch in batches))


def _last_of(batch: Batch) -> int:
    return batch.last


def _end_of(batch: Batch) -> int:
    return batch.end


def _stretch_of(batch: Batch) -> tuple[bool, int]:
    return batch.is_whole, batch.end // READ_BYTES


def without_first(data: bytes, count: int) -> bytes:
    """Encoded events are ended by a blank line, and have none in them."""
    begin = 0
    for _ in range(count):
        begin = data.index(b"\n\n", begin) + 2
    return data[begin:]
