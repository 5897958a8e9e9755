"""The plainest format: each message's data is text."""

from __future__ import annotations

from streaming.formats.parts import Delta, Part, StreamEnd, TokenCounts
from streaming.sse import Message


class TextReader:
    """Each message's data is text. It has no word for the end but the end itself."""

    tokens: TokenCounts | None = None

    def feed(self, message: Message) -> list[Part]:
        return [Delta(message.data)]

    def finish(self) -> list[Part]:
        return [StreamEnd()]
