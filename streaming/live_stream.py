"""A running stream and its clients: one driver, any number of readers. It may outlive the connection that began it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from http import HTTPStatus

from streaming import conf, registry, upstreams
from streaming.formats import TokenCounts
from streaming.interruptible_wait import NEVER, Interrupted, InterruptibleWait
from streaming.journal import JournalError, LogReader, StreamLog
from streaming.problems import problem_of
from streaming.relay import Relay
from streaming.responses import TURN, Source
from streaming.usage_meter import UsageMeter

logger = logging.getLogger(__name__)


class LiveStream:
    """Drives a relay from its source, for the client whose request began the stream.

    While it is the only client, its response drives the stream by calling ``next``. When other clients join, or when
    it leaves and may come back (with a ``log`` and ``grace`` seconds), a task drives the stream, and all clients read
    the log. The source is not read while the slowest client is too far behind. After ``grace`` seconds without a client
    the stream ends as ``abandoned``. Without a log it ends when its client leaves.
    """

    def __init__(
        self,
        source: Source,
        relay: Relay,
        log: StreamLog | None = None,
        *,
        label: str = "a stream",
        grace: float = 0,
        meter: UsageMeter | None = None,
        on_finish: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._meter = meter
        self._awaits_first_byte = meter is not None
        self._relay = relay
        self._label = label
        self._log = log
        self._grace = grace
        self._on_finish = on_finish
        self._sent = 0  # bytes
        self._loop = asyncio.get_running_loop()
        self._max_bytes = conf.max_stream_bytes()
        self._ends_at = self._loop.time() + (conf.max_stream_seconds() or NEVER)
        self._context = copy_context()
        self._wait = InterruptibleWait()  # for chunks of the source
        self._logged_messages = 0  # messages
        self._stopped: str | None = None
        self._error = ""
        self._has_begun = self._is_finished = False
        self._is_stepping = self._will_hand_over = False
        self._reader: LogReader | None = None  # of the first client, once a task drives
        self._reading = InterruptibleWait()
        self._has_read_all = False
        self._task: asyncio.Task[None] | None = None
        self._placeholder: LogReader | None = None  # at the position of the last client that left
        self._abandon_at = NEVER
        if log:
            log.on_reader_joined, log.on_reader_left = self._on_reader_joined, self._on_reader_left
        if meter:
            meter.progress, meter.is_opening = self, False
        self._time_limit: asyncio.TimerHandle | None = None
        if log and self._ends_at != NEVER:
            self._time_limit = self._loop.call_at(self._ends_at, self._hand_over)
        if log and log.readers:  # clients that joined while its source was being opened
            self._hand_over()

    # --- For the first client's response

    @property
    def is_over(self) -> bool:
        return self._has_read_all if self._reader else self._relay.is_over

    @property
    def end(self) -> str:
        if not self.is_over:
            return ""
        return self._end_for_log()

    @property
    def is_logged(self) -> bool:
        """Whether its end is in the log already: then its first client's is not."""
        return self._is_finished and self._meter is not None

    def _end_for_log(self) -> str:
        if self._relay.end == "error":
            return self._error or f"error {self._relay.status}"
        return self._relay.end or "done"

    # --- Its progress, for the meter

    @property
    def messages(self) -> int:
        return self._relay.messages

    @property
    def sent_bytes(self) -> int:
        return self._relay.sent_bytes

    @property
    def chars(self) -> int | None:
        return self._relay.chars

    @property
    def tokens(self) -> TokenCounts | None:
        return self._relay.tokens

    @property
    def held_chars(self) -> int:
        return self._relay.held_chars

    @property
    def readers(self) -> int:
        if self._log and self._reader:
            return self._log.readers - (self._placeholder is not None)
        return 0 if self._is_finished else 1

    def begin(self) -> bytes:
        return b"" if self._reader else self._begin_relay()

    async def next(self, due: float) -> bytes:
        try:
            if self._reader is None:
                return await self._step(due)
            data = await self._reading.wait(self._reader.read, due)
        except Interrupted:
            return b""
        except JournalError:
            data = b""  # the client reconnects, and gets the error then
        self._has_read_all = not data
        return data

    def stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        if self._log:
            self._hand_over()  # its first client may read nothing any more, and would hold the source open
        self._wait.interrupt()

    def close(self) -> None:
        """The client has left, or has everything."""
        self._reading.close()
        if self._log and not self._relay.is_over and (self._grace or self._reader):
            self._hand_over()
        else:
            self._finish()
        if self._reader:
            self._reader.close()

    # --- Driving

    def _begin_relay(self) -> bytes:
        if self._has_begun or self._stopped:
            return b""
        self._has_begun = True
        return self._keep(self._relay.begin())

    async def _step(self, due: float) -> bytes:
        """Relays one chunk of the source. Interrupted at ``due``, or when a task takes over."""
        self._is_stepping = True
        try:
            out = await self._advance(due)
            if out and self._awaits_first_byte and self._meter:
                self._awaits_first_byte = False
                self._meter.first_byte()
            return self._keep(out)
        finally:
            self._is_stepping = False
            if self._will_hand_over and self._task is None and not self._relay.is_over:
                self._start_task()

    async def _advance(self, due: float) -> bytes:
        relay = self._relay
        if self._stopped:
            return relay.stop(self._stopped)
        try:
            if relay.is_behind:
                await asyncio.sleep(0)
                return relay.resume()
            if self._is_at_its_limit:
                return relay.cut_off()
            chunk = await self._wait.wait(self._source.read, min(due, self._ends_at))
            return relay.feed(chunk) if chunk else relay.finish()
        except Interrupted:
            if self._stopped:
                return relay.stop(self._stopped)
            if self._is_at_its_limit:
                return relay.cut_off()
            raise
        except upstreams.UpstreamError as error:
            self._error = f"error: {error.for_log()}"
            if self._meter:
                self._meter.failed(error)
            return relay.fail(problem_of(error).failure)
        except Exception as error:  # noqa: BLE001 (the client would hang if this exception left the stream)
            return self._failed(error)

    @property
    def _is_at_its_limit(self) -> bool:
        """Whether it has sent as much, or taken as long, as a stream may."""
        return self._loop.time() >= self._ends_at or 0 < self._max_bytes <= self._sent

    def _failed(self, error: Exception) -> bytes:
        failure = problem_of(error).failure
        if self._meter:
            self._meter.failed(error)
        self._error = f"error: {failure.detail}"
        if failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s failed", self._label, exc_info=error)
        return self._relay.stop("error", failure)

    def _keep(self, out: bytes) -> bytes:
        self._sent += len(out)
        if self._log:
            if out:
                self._log.append(out, self._relay.messages - self._logged_messages)
                self._logged_messages = self._relay.messages
            if self._relay.is_over:
                self._log.end(self._relay.end)
        return out

    def _finish(self) -> None:
        """Closes everything, without waiting."""
        if self._is_finished:
            return
        self._is_finished = True
        reason = self._relay.end if self._relay.is_over else self._stopped or "left"
        if not self._relay.is_over and self._log:
            self._keep(self._relay.stop(self._stopped or "abandoned"))
        self._relay.close()
        self._wait.close()
        if self._time_limit:
            self._time_limit.cancel()
        if self._on_finish:
            self._on_finish()
        if self._log:
            self._log.on_reader_joined = self._log.on_reader_left = None
            if self._placeholder:
                self._placeholder.close()
        try:
            self._source.close(linger=self._relay.is_complete)
        except Exception:
            logger.exception("the source of %s could not be closed", self._label)
        self._end_meter(reason)

    def _end_meter(self, reason: str) -> None:
        if meter := self._meter:
            relay = self._relay
            if relay.end == "error" and not meter.error:
                meter.error, meter.upstream_error = f"the upstream reported an error, {relay.status}", "reported"
            meter.end(reason, relay.status)

    # --- Clients join and leave

    @property
    def is_open(self) -> bool:
        """Whether it runs without a client. With one, the client's response is counted instead."""
        return self._placeholder is not None and not self._is_finished

    def _on_reader_joined(self) -> None:
        if self._placeholder:
            placeholder, self._placeholder = self._placeholder, None
            self._abandon_at = NEVER
            placeholder.close()
        self._hand_over()

    def _on_reader_left(self, reader: LogReader) -> None:
        if not self._log or self._log.readers or self._is_finished or self._placeholder is reader:
            return
        # Keeps what the client that left has not read, in case it comes back.
        self._log.on_reader_joined = None
        self._placeholder = self._log.stand_in()
        self._placeholder.move_to(reader.position)
        self._log.on_reader_joined = self._on_reader_joined
        self._abandon_at = self._loop.time() + self._grace
        self._wait.interrupt()

    def _hand_over(self) -> None:
        """From now on a task drives, and the first client reads the log like the others."""
        if self._reader or self._is_finished:
            return
        if self._is_stepping:
            self._will_hand_over = True
            self._wait.interrupt()
        else:
            self._start_task()

    def _start_task(self) -> None:
        if self._log:
            self._log.on_reader_joined = None
            self._reader = self._log.reader(after=self._log.last)
            self._log.on_reader_joined = self._on_reader_joined
        self._task = self._loop.create_task(self._drive(), context=self._context)
        registry.watch(self)

    async def _drive(self) -> None:
        try:
            self._begin_relay()
            steps = 0
            while not self._relay.is_over:
                await self._drive_once()
                steps += 1
                if steps % TURN == 0:
                    await asyncio.sleep(0)
        except Exception:
            logger.exception("%s failed", self._label)
        finally:
            self._finish()
        if self._meter is None:
            logger.info("%s, driven by its own task, ended (%s)", self._label, self._end_for_log())

    async def _drive_once(self) -> None:
        try:
            if self._log and not (self._log.has_room or self._stopped or self._is_at_its_limit):
                await self._wait.wait(self._log.until_room, min(self._abandon_at, self._ends_at))
            await self._step(self._abandon_at)
        except Interrupted:
            pass
        if self._loop.time() >= self._abandon_at:
            self.stop("abandoned")
