"""One piece of work in a process of its own: its seconds, the memory it took beyond its input, and its answer."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STATUS = Path("/proc/self/status")


def cloud(n_points: int, n_features: int, seed: int = 0) -> np.ndarray:
    """(n_points, n_features) float32: Gaussian, with variances 1, 1/2, 1/3, ... and a mean."""
    rng = np.random.default_rng(seed)
    scales = np.arange(1, n_features + 1, dtype=np.float32) ** -0.5
    return rng.standard_normal((n_points, n_features), dtype=np.float32) * scales + np.float32(0.1)


def classes(n_classes: int, n_points: int, n_features: int, spread: float) -> list[np.ndarray]:
    """(n_points, n_features) float64 each: standard normal points; their centroids drawn apart by `spread` as well."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((n_classes, n_points, n_features))
    return list(points + spread * rng.standard_normal((n_classes, 1, n_features)))


def resident() -> int:
    """Bytes of memory that the process has filled and holds now; 0 where the system does not tell.

    Without the code of libraries, which is read when it is first used and can be dropped.
    """
    if not STATUS.exists():
        return 0
    return 1024 * int(next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon")).split()[1])


def watched(work: Callable[[], Any], every: float = 0.002) -> tuple[Any, int]:
    """What the work gives, and the most bytes that the process held meanwhile; looking costs a little time."""
    highest, done = resident(), threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(every):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    found = work()
    done.set()
    watcher.join()
    return found, highest


def report(prepare: Callable[[], Any], work: Callable[[Any], Any]) -> None:
    """Prepare the input, do the work, and print a line of JSON: memory of the first time, median seconds of the others.

    Memory and time are not taken together, since looking takes time. Short work is repeated for a second.
    """
    given = prepare()
    before = resident()
    _, highest = watched(lambda: work(given))
    times: list[float] = []
    while not times or (sum(times) < 1 and len(times) < 20):
        began = time.perf_counter()
        answer = work(given)
        times.append(time.perf_counter() - began)
    print(json.dumps({"seconds": statistics.median(times), "bytes": max(0, highest - before), "answer": answer}))
    sys.stdout.flush()
