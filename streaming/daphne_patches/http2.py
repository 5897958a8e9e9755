"""What differs in HTTP/2: where a request's body begins, and how a stream ends early."""

from __future__ import annotations

from typing import Any

from streaming.daphne_patches.arriving_bodies import begin


def install_http2() -> None:
    import h2.exceptions
    from twisted.web._http2 import H2Connection

    connection: Any = H2Connection
    request_received, request_done = connection._requestReceived, connection._requestDone

    def request_received_(self: Any, event: Any) -> None:
        request_received(self, event)
        stream = self.streams.get(event.stream_id)
        # Only the end of the stream says whether there is a body (RFC 9113, section 8.1).
        if stream is not None and event.stream_ended is None:
            begin(stream._request, stream, stream.command, stream.path, b"HTTP/2")

    def request_done_(self: Any, stream_id: int) -> None:
        request = self.streams[stream_id]._request
        body = request._arriving
        request_done(self, stream_id)
        if request.finished and body is not None and not body.is_complete:
            # RFC 9113, section 8.1: NO_ERROR asks the client to stop sending the body; the response is complete.
            try:
                self.conn.reset_stream(stream_id, error_code=0)
                self._tryToWriteControlData()
            except h2.exceptions.ProtocolError:
                pass  # the stream is closed already

    connection._requestReceived, connection._requestDone = request_received_, request_done_


def reset_stream(connection: Any, stream_id: int) -> None:
    """Twisted itself aborts a stream with NO_ERROR, which clients take for a complete one (RFC 9113, section 8.1)."""
    from h2.errors import ErrorCodes

    connection.conn.reset_stream(stream_id, error_code=ErrorCodes.INTERNAL_ERROR)
    if connection._tryToWriteControlData():
        connection._requestDone(stream_id)
