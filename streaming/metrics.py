"""The figures of this process for Prometheus, in its naming (https://prometheus.io/docs/practices/naming/).

They are kept by prometheus-client; where it is not installed, counting does nothing. With several workers on one
machine, PROMETHEUS_MULTIPROC_DIR names a folder through which each of them shows the figures of all. Label values are
bounded: callers pass names from the settings, or "other".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

logger = logging.getLogger(__name__)

P = ParamSpec("P")

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
if FOLDER:
    Path(FOLDER).mkdir(parents=True, exist_ok=True)  # the client does not make it

try:
    import prometheus_client as client
    from prometheus_client import exposition, multiprocess
except ImportError:
    client = None  # type: ignore[assignment]

FIRST_BYTE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
DURATION_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "streams_opened": ("Requests whose answer began to be made.", ("endpoint", "upstream")),
    "streams_ended": (
        "Requests whose answer ended, by the reason (stop, length, blocked, error, stopped, abandoned, drained, left).",
        ("endpoint", "upstream", "model", "reason"),
    ),
    "events": ("Events sent in event streams.", ()),
    "sent_bytes": ("Bytes of answers sent to clients.", ()),
    "tokens": (
        "Tokens, as upstreams report them, of prompts and completions.",
        ("upstream", "model", "direction"),
    ),
    "moderation_hits": ("Matches on which a moderation rule acted.", ("action",)),
    "upstream_errors": ("Failed requests to upstreams, by what happened.", ("upstream", "error")),
    "limits_reached": ("Requests refused because a limit was reached.", ("limit",)),
    "rows_lost": ("Rows discarded because they could not be written to the database.", ("table",)),
}
GAUGES: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "streams_open": ("Requests that are being answered.", ("endpoint", "upstream"), "livesum"),
    "held_characters": ("Characters that moderation holds back at the moment.", (), "livesum"),
    "journal_bytes": ("Memory of streams that are kept for clients that come back.", (), "livesum"),
    "journal_streams": ("Streams that are kept for clients that come back.", (), "livesum"),
    "rules_edition": (
        "The edition of the moderation rules in force: that of the worker that is last to load it.",
        (),
        "livemin",
    ),
    "rows_waiting": ("Rows waiting to be written to the database.", ("table",), "livesum"),
}
HISTOGRAMS: Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "first_byte_seconds": ("Time from a request to the first bytes of its answer.", ("upstream",), FIRST_BYTE_BUCKETS),
    "stream_duration_seconds": ("Time from a request to the end of its answer.", ("upstream",), DURATION_BUCKETS),
}


class Figures:
    """All figures, registered when the first is needed."""

    def __init__(self) -> None:
        self.registry = client.CollectorRegistry()
        if not FOLDER:
            client.ProcessCollector(registry=self.registry)
        common: dict[str, Any] = {"namespace": "streaming", "registry": self.registry}
        self._by_name: dict[str, Any] = {
            **{name: client.Counter(name, text, labels, **common) for name, (text, labels) in COUNTERS.items()},
            **{
                name: client.Gauge(name, text, labels, multiprocess_mode=mode, **common)  # type: ignore[arg-type]
                for name, (text, labels, mode) in GAUGES.items()
            },
            **{
                name: client.Histogram(name, text, labels, buckets=buckets, **common)
                for name, (text, labels, buckets) in HISTOGRAMS.items()
            },
        }

    def of(self, name: str, labels: dict[str, str]) -> Any:
        figure = self._by_name[name]
        return figure.labels(**labels) if labels else figure

    def set_all(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Sets a gauge for each combination of labels. Those of earlier calls that are missing now become 0."""
        figure = self._by_name[name]
        for labels in {*figure._metrics, *values}:
            figure.labels(*labels).set(values.get(labels, 0))


_figures: Figures | None = None


def _get() -> Figures | None:
    global _figures
    if client is None:
        return None
    if _figures is None:
        _figures = Figures()
    return _figures


def is_available() -> bool:
    return client is not None


def _harmless(write: Callable[P, None]) -> Callable[P, None]:
    """No stream fails because a figure cannot be written: the folder may be gone, or the disk full."""

    @wraps(write)
    def write_if_possible(*args: P.args, **kwargs: P.kwargs) -> None:
        global client
        try:
            write(*args, **kwargs)
        except OSError as error:
            client = None  # type: ignore[assignment]
            logger.error("the metrics are given up, in this process: %s", error)  # noqa: TRY400 (said once)

    return write_if_possible


@_harmless
def count(name: str, amount: float = 1, **labels: str) -> None:
    """Adds to a counter (see COUNTERS)."""
    if amount > 0 and (figures := _get()):
        figures.of(name, labels).inc(amount)


@_harmless
def observe(name: str, seconds: float, **labels: str) -> None:
    """Adds an observation to a histogram (see HISTOGRAMS)."""
    if figures := _get():
        figures.of(name, labels).observe(seconds)


@_harmless
def show(name: str, value: float, **labels: str) -> None:
    """Sets a gauge (see GAUGES)."""
    if figures := _get():
        figures.of(name, labels).set(value)


@_harmless
def show_all(name: str, values: Mapping[tuple[str, ...], float]) -> None:
    """Sets a gauge with labels, in their order; combinations that are missing become 0."""
    if figures := _get():
        figures.set_all(name, values)


def render(accept: str) -> tuple[bytes, str]:
    """All figures, and their media type: Prometheus's text format, or OpenMetrics if the client prefers that.

    With PROMETHEUS_MULTIPROC_DIR those of all workers. Gauges of workers that have died are dropped: no server but
    gunicorn tells the client's library that a worker is gone.
    """
    figures = _get()
    if figures is None:
        raise RuntimeError("prometheus-client is not installed")
    encode, kind = exposition.choose_encoder(accept)
    registry = figures.registry
    if FOLDER:
        _forget_dead_workers()
        registry = client.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return encode(registry), kind


def forget_this_worker() -> None:
    """To be called at shutdown, so that the gauges of this worker do not outlive it."""
    if FOLDER and client is not None:
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _forget_dead_workers() -> None:
    for path in Path(FOLDER).glob("gauge_live*_*.db"):
        number = path.stem.rpartition("_")[2]
        if number.isdecimal() and not _is_alive(int(number)):
            multiprocess.mark_process_dead(int(number))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
