"""A further client of a stream: it reads the stream's log, in whichever worker that is driven."""

from __future__ import annotations

from streaming.interruptible_wait import Interrupted, InterruptibleWait
from streaming.journal import JournalError, LogReader


class JoinedStream:
    """A further client of a stream, in whichever process that runs: past events first, then new ones."""

    def __init__(self, reader: LogReader, first: bytes = b"") -> None:
        self._reader = reader
        self._first = first
        self._wait = InterruptibleWait()
        self._began_after = reader.position
        self._is_cut = False
        self.is_over = False

    @property
    def end(self) -> str:
        if self._is_cut:
            return "cut"
        return "done" if self.is_over else ""

    @property
    def is_logged(self) -> bool:
        return False

    @property
    def messages(self) -> int:
        return max(self._reader.position - self._began_after, 0)

    def begin(self) -> bytes:
        return self._first

    async def next(self, due: float) -> bytes:
        try:
            data = b"" if self._is_cut else await self._wait.wait(self._reader.read, due)
        except Interrupted:
            return b""
        except JournalError:
            # Without "done" the client reconnects, and gets the error then.
            data, self._is_cut = b"", True
        self.is_over = not data
        return data

    def stop(self, reason: str) -> None:
        """Cuts off a stream that another worker drives: its client resumes there. One driven here ends by itself."""
        if not self._reader.log.is_driven_here:
            self._is_cut = True
            self._wait.interrupt()

    def close(self) -> None:
        self._wait.close()
        self._reader.close()
