"""How far a run is: a bar with rate and time left on a terminal, one plain line now and then in a log."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Never, TextIO

from manifoldscope.errors import printable

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")  # a notebook without widgets has plain lines
    from tqdm.auto import tqdm
    from tqdm.notebook import tqdm_notebook

LINE_EVERY = 15.0
"""Seconds between two plain lines."""

STAGE_AFTER = 2.0
"""Seconds after which a stage says what it does."""

Group = tuple[str, ...]
"""Of which kind a unit is, from the most general to the most particular: what takes about as long as forecast, or as
much longer as its like."""


class Progress:
    """Shows work measured in forecast seconds, which are corrected by what units of the same kind have taken.

    Args:
        stream: where to show it; standard error by default.
        quiet: show nothing at all.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = not quiet and (self._stream.isatty() or issubclass(tqdm, tqdm_notebook))
        self._bar: tqdm[Never] | None = None
        self._left: dict[Group, float] = {}
        self._forecast: dict[Group, float] = defaultdict(float)
        self._measured: dict[Group, float] = defaultdict(float)
        self._units = self._units_done = self._begun = 0
        self._group: Group = ()
        self._current = self._share = self._shown = 0.0
        self._label = ""
        self._began = self._unit_began = self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """One line, above the bar where there is one."""
        if self._quiet:
            return
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)  # the progress of a run is said by whoever runs it

    @contextmanager
    def stage(self, text: str) -> Iterator[Callable[[int], None]]:
        """What is done before the units begin: a line says so where it takes longer than `STAGE_AFTER` seconds.

        It gives a function that is told how many are done; a terminal shows it.
        """
        said, shown = threading.Event(), False

        def say() -> None:
            said.set()
            self.say(f"{text} ...")

        def tick(n_done: int) -> None:
            if self._terminal and said.is_set():
                nonlocal shown
                shown = True
                print(f"\r{n_done:,} done", end="\r", file=self._stream, flush=True)

        timer = threading.Timer(STAGE_AFTER, say)
        timer.daemon = True
        timer.start()
        try:
            yield tick
        finally:
            timer.cancel()
            if shown:
                print(" " * 20, end="\r", file=self._stream, flush=True)

    def start(self, units: Iterable[tuple[Group, float]]) -> None:
        """Begin: the units by their group, with their forecast seconds."""
        self._left = defaultdict(float)
        self._units = 0
        for group, seconds in units:
            self._left[group] += seconds
            self._units += 1
        self._began = self._last_line = time.monotonic()
        if self._terminal:
            self._bar = tqdm(
                total=100.0,
                file=self._stream,
                dynamic_ncols=True,
                leave=False,
                unit="%",
                bar_format="{percentage:3.0f}% |{bar}| {rate_fmt}, {elapsed} passed{desc}",
            )

    def begin(self, label: str, group: Group, seconds: float, n_units: int = 1) -> None:
        """A unit begins, or several of one group together."""
        self._begun = n_units
        self._label, self._group, self._current, self._share = label, group, seconds, 0.0
        self._unit_began = time.monotonic()
        self._show()

    def tick(self, share: float) -> None:
        """The current unit has done this share of its work."""
        self._share = min(1.0, share)
        self._show()

    def end(self, *, computed: bool = True) -> None:
        """It has ended; one that was not computed here says nothing of the others."""
        if computed:
            taken = time.monotonic() - self._unit_began
            for n in range(1, len(self._group) + 1):
                self._forecast[self._group[:n]] += self._current
                self._measured[self._group[:n]] += taken
        self._left[self._group] = max(0.0, self._left.get(self._group, 0.0) - self._current)
        self._current = self._share = 0.0
        self._units_done += self._begun
        self._show()

    def close(self) -> None:
        """The run has ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @property
    def seconds_left(self) -> float:
        """Forecast seconds of what is left, corrected by what units of the nearest kind have taken."""
        left = sum(seconds * self._correction(group) for group, seconds in self._left.items())
        own = self._current * self._correction(self._group)
        gone = max(own * self._share, min(own, time.monotonic() - self._unit_began)) if self._current else 0.0
        return max(0.0, left - gone)

    @property
    def share(self) -> float:
        """How much of the work is done; it never falls, though a correction may find that more is left."""
        passed, left = time.monotonic() - self._began, self.seconds_left
        self._shown = max(self._shown, passed / (passed + left) if passed + left > 0 else 0.0)
        return self._shown

    def _correction(self, group: Group) -> float:
        for n in range(len(group), 0, -1):
            if self._forecast[group[:n]] > 0:
                return self._measured[group[:n]] / self._forecast[group[:n]]
        return 1.0

    def _show(self) -> None:
        if self._quiet:
            return
        share = self.share
        left = f", about {duration(self.seconds_left)} left"
        if self._bar is not None:
            shown = printable(f"{left}; {self._units_done}/{self._units} units: {self._label}")
            self._bar.set_description_str(shown, refresh=False)
            self._bar.update(100 * share - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY:
            return
        self._last_line = now
        passed = duration(now - self._began)
        self.say(f"{share:4.0%}  {self._units_done}/{self._units} units, {passed} passed{left}: {self._label}")


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "2 min 10 s", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
