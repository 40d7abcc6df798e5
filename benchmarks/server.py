"""`chiron serve` under load: concurrent clients on loopback; errors, latency, throughput, whether memory stays flat.

    python benchmarks/server.py BUNDLE [--clients 32] [--seconds 300] [--images FOLDER]

Each client sends one image after the other and waits for each answer. The alternative beside it: the same requests by
one client alone, so that batches hold one image. Times are those that a client sees, from the first byte to the last.
"""

import argparse
import http.client
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

BOUNDARY = "chiron-benchmark"


@dataclass
class Found:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)  # (seconds since the start, resident)
    duration: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--images", type=Path, help="folder of images to send; default drawn ones")
    parser.add_argument("--threads", type=int, help="of the server")
    given = parser.parse_args()
    told = measure(given.bundle, given.clients, given.seconds, given.images, given.threads)
    print(json.dumps(told, indent=1))
    sys.exit(1 if told["errors"] or not told["memory"]["is_flat"] else 0)


def measure(bundle: str, clients: int, seconds: float, folder: Path | None = None, threads: int | None = None) -> dict:
    """Numbers of one server: one client alone for a tenth of the time, then all clients."""
    bodies = [body_of(data) for data in (images_in(folder) if folder else drawn_images())]
    process, port = start(bundle, threads)
    try:
        alone = load(port, process.pid, bodies, clients=1, seconds=max(2.0, seconds / 10))
        together = load(port, process.pid, bodies, clients=clients, seconds=seconds)
        metrics = ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/metrics")[1].decode()
    finally:
        process.send_signal(signal.SIGTERM)
        exit_code = process.wait(60)
    batches = number(metrics, 'chiron_batch_images_count{model="'), number(metrics, 'chiron_batch_images_sum{model="')
    return {
        "clients": clients,
        "requests": len(together.seconds),
        "errors": together.errors[:5] + alone.errors[:5],
        "requests_per_second": round(len(together.seconds) / together.duration, 1),
        "one_client_requests_per_second": round(len(alone.seconds) / alone.duration, 1),
        "milliseconds": quantiles(together.seconds),
        "one_client_milliseconds": quantiles(alone.seconds),
        "images_per_batch": round(batches[1] / batches[0], 1),
        "memory": flatness(together.memory_mib),
        "exit_code": exit_code,
    }


def start(bundle: str, threads: int | None) -> tuple[subprocess.Popen, int]:
    """A server of its own and its port."""
    command = [sys.executable, "-m", "chiron.cli.main", "serve", bundle, "--port", "0", "--rate", "100000000"]
    command += [] if threads is None else ["--threads", str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r":(\d+) ", process.stdout.readline())
    if found is None:
        raise SystemExit("the server did not start")
    return process, int(found[1])


def load(port: int, pid: int, bodies: list[bytes], *, clients: int, seconds: float) -> Found:
    """Requests of so many clients for so long."""
    found, began = Found(), time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(port, bodies[k:] + bodies[:k], began + seconds, found))
        for k in range(clients)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found.memory_mib.append((time.perf_counter() - began, resident_mib(pid)))
        time.sleep(min(1.0, seconds / 20))
    found.duration = time.perf_counter() - began
    return found


def client(port: int, bodies: list[bytes], until: float, found: Found) -> None:
    """One client, over one connection that stays."""
    connection, sent = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
    while time.perf_counter() < until:
        began = time.perf_counter()
        try:
            status, answer = ask(connection, "POST", "/api/predict", bodies[sent % len(bodies)])
        except (OSError, http.client.HTTPException) as error:
            found.errors.append(repr(error))
            connection.close()
            continue
        found.seconds.append(time.perf_counter() - began)
        if status != 200 or b'"prediction":{' not in answer:
            found.errors.append(f"{status} {answer[:200]!r}")
        sent += 1


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one answer."""
    headers = {} if body is None else {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def body_of(data: bytes) -> bytes:
    """A form with one image."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def drawn_images(count: int = 64) -> list[bytes]:
    """JPEG files of 500 to 700 pixels a side."""
    random, found = np.random.default_rng(0), []
    for _ in range(count):
        coarse = random.integers(0, 256, (12, 12), dtype=np.uint8)
        stream = io.BytesIO()
        size = tuple(int(it) for it in random.integers(500, 700, 2))
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        found.append(stream.getvalue())
    return found


def images_in(folder: Path) -> list[bytes]:
    """The first 500 images below a folder."""
    suffixes = {".png", ".jpg", ".jpeg", ".dcm"}
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes][:500]


def resident_mib(pid: int) -> float:
    """Memory of the server that is really there."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p90, p99 and the longest, milliseconds."""
    ordered, places = sorted(seconds), {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(1000 * ordered[min(last, int(share * len(ordered)))], 1) for name, share in places.items()}


def flatness(memory: list[tuple[float, float]]) -> dict:
    """Resident memory after a first fifth, in which buffers grow to their size, and at the end; medians of a fifth."""
    fifth = max(1, len(memory) // 5)
    early = statistics.median(it[1] for it in memory[fifth : 2 * fifth] or memory)
    late = statistics.median(it[1] for it in memory[-fifth:])
    grown = late - early
    return {
        "second_fifth_mib": round(early, 1),
        "last_fifth_mib": round(late, 1),
        "most_mib": round(max(it[1] for it in memory), 1),
        "is_flat": grown <= max(10.0, 0.02 * early),
    }


def number(metrics: str, start_of_line: str) -> float:
    return float(next(line for line in metrics.splitlines() if line.startswith(start_of_line)).split()[-1])


if __name__ == "__main__":
    main()
