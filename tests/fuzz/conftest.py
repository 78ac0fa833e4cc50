from __future__ import annotations

from tests.fuzz import mutate


def pytest_terminal_summary(terminalreporter):
    """Say how many mutated files were tried."""
    if mutate.made:
        terminalreporter.write_line(f"{mutate.made} mutated files")
