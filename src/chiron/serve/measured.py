"""What Prometheus reads at /metrics: counts and times, never what was asked or answered."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["CONTENT_TYPE", "Measured"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32)


class Measured:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("chiron_requests", "Answered requests", ["path", "status"], **own)
        self.refusals = Counter("chiron_refusals", "Requests without an answer, by kind", ["kind"], **own)
        self.seconds = Histogram("chiron_request_seconds", "From request to answer", ["path"], buckets=_SECONDS, **own)
        self.batch_images = Histogram("chiron_batch_images", "Images of a batch", ["model"], buckets=_IMAGES, **own)
        self.images = Counter("chiron_images", "Images by what came of them", ["model", "status"], **own)
        self.running = Gauge("chiron_running_requests", "Requests that are in work", **own)
        self.held_bytes = Gauge("chiron_held_bytes", "Bytes of bodies that are held", **own)
        self.waiting_images = Gauge("chiron_waiting_images", "Images that wait for a batch", ["model"], **own)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """In the format of Prometheus."""
        return generate_latest(self.registry)
