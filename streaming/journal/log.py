"""The log of one stream, in memory: one driver appends events, any number of readers follow."""

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
"""The approximate limit of one read, so that a client that is far behind does not hold up the others."""

BATCH_OVERHEAD = 180
"""The memory overhead of a batch, in bytes: two objects and two numbers. It is often larger than an event."""


WHOLE = "whole"
"""In place of a dialect: an answer that is not streamed, but kept like a stream of one event."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The properties of a stream that are known before its first event."""

    id: str
    owner: str = ""
    """The user who may resume it. Empty: anyone who knows the id may."""
    dialect: str = "native"
    """The format of its events. Only those of "native" can be compacted."""
    last_words: bytes = b""
    """The events that end the stream if its worker dies, with a NUL in place of every event number."""
    claim: str = ""
    """Its idempotency key, made unique for its owner; empty if it has none."""
    fingerprint: str = ""
    """A digest of the request: a different request with the same key is a conflict."""


PACKED_BYTES = 16 * 1024
"""The size up to which the batches of an ended stream are joined."""


class Batch(NamedTuple):
    last: int
    """The number of its last event."""
    data: bytes
    end: int
    """The total size of the stream up to the end of this batch, in bytes."""
    is_whole: bool = False
    """Whether readers always get the whole batch, even if their position is within its numbers."""


class Step(NamedTuple):
    """The result of one read. Readers that are equally far share it: the data is looked up and joined once for all."""

    after: int
    data: bytes
    last: int
    offset: int
    end: int
    """The size of the stream when it was read: a later read would give more."""


NO_STEP = Step(-2, b"", -2, 0, -1)


class StreamLog:
    """The batches of one stream. The oldest are dropped when they exceed ``max_bytes``.

    Batches that an attached reader has not read yet are kept; ``has_room`` is False when the driver should wait for it.
    """

    is_driven_here = True

    def __init__(self, info: StreamInfo, max_bytes: int, first: int = 0) -> None:
        self.info = info
        self.first = first
        """The number of the oldest event that is kept."""
        self.last = first - 1
        self.ended = ""
        self.on_size: Callable[[int], None] | None = None
        """Called with the change of the log's memory size in bytes."""
        self.on_reader_joined: Callable[[], None] | None = None
        self.on_reader_left: Callable[[LogReader], None] | None = None
        self._max_bytes = max_bytes
        self._batches: list[Batch] = []
        self._start = self._end = 0  # bytes of the stream: before the first batch, and after the last
        self._readers: set[LogReader] = set()
        self._step = NO_STEP
        self._error: Exception | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """The size of the kept events in bytes."""
        return self._end - self._start

    @property
    def readers(self) -> int:
        return len(self._readers)

    def append(self, data: bytes, count: int) -> None:
        """Adds a batch of ``count`` encoded events."""
        self._add(data, self.last + count)

    def append_whole(self, data: bytes, last: int) -> None:
        """Adds a batch whose events are already numbered. ``last`` is the number of its last event."""
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
        """Marks the stream as ended. Only the first reason is kept."""
        self._step = NO_STEP
        self.ended = self.ended or reason
        self._join()
        self._wake()
        self.give_room()

    def fail(self, error: Exception) -> None:
        """Readers get the remaining events, and then this error."""
        self._error = self._error or error
        self._wake()
        self.give_room()

    def pack(self) -> None:
        """Joins the batches of an ended stream, which reduces the memory overhead."""
        packed, pieces = list[Batch](), list[Batch]()
        for batch in self._batches:
            if pieces and (batch.is_whole or pieces[0].is_whole or batch.end - pieces[0].end > PACKED_BYTES):
                packed.append(_joined(pieces))
                pieces = []
            pieces.append(batch)
        self._batches = [*packed, *([_joined(pieces)] if pieces else [])]

    def release(self) -> None:
        """Called when the journal drops the log. Attached readers can still read it."""
        self._count(-self.size - len(self._batches) * BATCH_OVERHEAD)
        self.on_size = None

    def _count(self, change: int) -> None:
        if self.on_size:
            self.on_size(change)

    def _join(self) -> None:
        """Joins batches once the stream has ended: the overhead of one batch per event would exceed the data."""
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
        """A reader of the events after this one. Raises Gap if some of them are no longer kept."""
        position = -1 if after is None else after
        if position + 1 < self.first:
            raise Gap("the oldest of the requested events are no longer kept")
        return self._joined(LogReader(self, position, self.offset_of(position), self.last if after is None else -1))

    def stand_in(self) -> LogReader:
        """A reader that only holds a position, at first the beginning, for a client that reads the data elsewhere."""
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
        """Whether the slowest reader is near enough for more events to be appended."""
        return self._end - self._start <= self._max_bytes or self._end - self._slowest() <= self._max_bytes

    async def until_room(self) -> None:
        while not (self.has_room or self.ended or self._error):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def after(self, position: int, max_bytes: int) -> tuple[bytes, int]:
        """About ``max_bytes`` of the events after this one, and the number of the last event returned.

        Starts with the oldest kept event if earlier ones were dropped.
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
        # A reader may be ahead of a copy of the log that has not been filled yet, or claim so.
        return min((reader.offset for reader in self._readers if reader.position <= self.last), default=self._end)

    def _trim(self) -> None:
        # Drops an eighth at a time, so that the cost is spread over many batches; but never the newest batch.
        keep_from = min(self._end - max(self._max_bytes * 7 // 8, 1), self._slowest())
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
        if reader.position >= self.last:
            return b""
        step = self._step
        if step.after != reader.position or step.end != self._end:
            data, last = self.after(reader.position, READ_BYTES)
            step = Step(reader.position, data, last, self.offset_of(last), self._end)
            self._step = NO_STEP if self.ended else step
        reader.position, reader.offset = step.last, step.offset
        self.give_room()
        return step.data

    def _detach(self, reader: LogReader) -> None:
        self._readers.discard(reader)
        self.give_room()
        if self.on_reader_left:
            self.on_reader_left(reader)


class LogReader:
    """Follows one log from a position: ``read`` returns encoded events as they arrive, and b"" at the end."""

    def __init__(self, log: StreamLog, position: int, offset: int, compact_until: int) -> None:
        self.log = log
        self.position = position
        """The number of the last event that was read."""
        self.offset = offset
        self._compact_until = compact_until if log.info.dialect == "native" else -1
        self._waiting: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """Waits for more events. Returns b"" at the end. Cancelling it loses no data.

        Raises Gap, StoreUnavailable or UnknownStream when the log cannot be followed any further.
        """
        while not (data := self.take()):
            if self.log._error:
                raise self.log._error
            if self.log.ended:
                return b""
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        return data

    @property
    def is_ahead(self) -> bool:
        """Whether it claims to have read events that do not exist yet."""
        return self.log.is_driven_here and self.position > self.log.last

    def take(self) -> bytes:
        """The events that are available now."""
        catches_up = self.position < self._compact_until
        data = self.log._take(self)
        return compact(data) if catches_up and data else data

    def wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def move_to(self, position: int) -> None:
        """Sets the position of a reader whose data is read elsewhere, for example in another worker."""
        self.position, self.offset = position, self.log.offset_of(position)
        self.log.give_room()

    def close(self) -> None:
        """May be called more than once."""
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
    """Removes the first events. A blank line ends every encoded event, and none contains one."""
    begin = 0
    for _ in range(count):
        begin = data.index(b"\n\n", begin) + 2
    return data[begin:]
