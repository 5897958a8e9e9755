"""Which workers are alive: each holds a lease, a key that expires after a few heartbeats."""

from __future__ import annotations

import time

BEAT = 1.0
"""Seconds between two heartbeats, which renew the lease and check those of other workers."""
LEASE_BEATS = 3.5
"""The lifetime of a lease, in heartbeats. A dead worker is noticed at most one heartbeat after that."""


class Leases:
    """How far a missing lease can be trusted: Redis may have been away, or have lost its data."""

    def __init__(self, beat: float) -> None:
        self.milliseconds = int(LEASE_BEATS * beat * 1000)
        self._seconds = LEASE_BEATS * beat
        self._beat = beat
        self._back_since = float("-inf")
        self._lost_at = float("-inf")

    def begin(self) -> None:
        """Redis may just have lost its data. All live workers renew their leases within one heartbeat."""
        self._back_since = time.monotonic() - (LEASE_BEATS - 2) * self._beat

    def lost(self) -> None:
        """The leases are gone, and perhaps all else: after an outage, or because Redis was emptied."""
        self._back_since = self._lost_at = time.monotonic()

    @property
    def are_trusted(self) -> bool:
        """Whether a missing lease means a dead worker: not while workers could not renew theirs."""
        return time.monotonic() > self._back_since + self._seconds

    @property
    def may_still_be_stored(self) -> bool:
        """Whether other workers may not yet have stored their streams again after an outage or a data loss."""
        return time.monotonic() < self._lost_at + self._seconds

    def is_over(self, seen: float) -> bool:
        """Whether a worker that was heard of at this time would have lost its lease since."""
        return time.monotonic() > seen + self._seconds
