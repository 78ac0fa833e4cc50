"""How far a run is: a bar with rate and time left on a terminal, one plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Never, TextIO

from tqdm import tqdm

from manifoldscope.errors import printable

LINE_EVERY = 15.0
"""Seconds between two plain lines."""


class Progress:
    """Shows work measured in forecast seconds, which makes units of unlike size comparable.

    Args:
        stream: where to show it; standard error by default.
        quiet: show nothing at all.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = not quiet and self._stream.isatty()
        self._bar: tqdm[Never] | None = None
        self._total = self._done = self._share = 0.0
        self._units = self._units_done = 0
        self._current = 0.0
        self._label = ""
        self._began = self._last_line = time.monotonic()

    def say(self, text: str) -> None:
        """One line, above the bar where there is one."""
        if self._quiet:
            return
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)  # the progress of a run is said by whoever runs it

    def start(self, seconds: float, units: int) -> None:
        """Begin: so many forecast seconds, in so many units."""
        self._total, self._units = max(seconds, 1e-9), units
        self._began = self._last_line = time.monotonic()
        if self._terminal:
            self._bar = tqdm(
                total=100.0,
                file=self._stream,
                dynamic_ncols=True,
                leave=False,
                unit="%",
                bar_format="{percentage:3.0f}% |{bar}| {rate_fmt}, {elapsed} passed, {remaining} left  {desc}",
            )

    def begin(self, label: str, seconds: float) -> None:
        """A unit begins."""
        self._label, self._current, self._share = label, seconds, 0.0
        self._show()

    def tick(self, share: float) -> None:
        """The current unit has done this share of its work."""
        self._share = min(1.0, share)
        self._show()

    def end(self) -> None:
        """The current unit has ended."""
        self._done += self._current
        self._current = self._share = 0.0
        self._units_done += 1
        self._show()

    def close(self) -> None:
        """The run has ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self) -> None:
        if self._quiet:
            return
        share = min(1.0, (self._done + self._current * self._share) / self._total)
        if self._bar is not None:
            shown = printable(f"{self._units_done}/{self._units} units: {self._label}")
            self._bar.set_description_str(shown, refresh=False)
            self._bar.update(100 * share - self._bar.n)
            return
        now = time.monotonic()
        if now - self._last_line < LINE_EVERY:
            return
        self._last_line = now
        passed = now - self._began
        left = f", about {duration(passed / share * (1 - share))} left" if share > 0.01 else ""
        self.say(
            f"{share:4.0%}  {self._units_done}/{self._units} units, {duration(passed)} passed{left}: {self._label}"
        )


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "2 min 10 s", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
