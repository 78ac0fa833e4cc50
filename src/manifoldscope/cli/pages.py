"""A page that a command writes beside what it prints: where it may be written, and what it says of itself."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path

from manifoldscope.cli.printing import say
from manifoldscope.errors import StoreError
from manifoldscope.files import open_regular, why

_BEGINNING = 2_000
"""Bytes within which a page says what it is."""


def add_report(parser: argparse.ArgumentParser) -> None:
    """The option --report."""
    parser.add_argument("--report", metavar="FILE", help="also write a page with figures and the table: one HTML file")


def require_report(path: str) -> None:
    """Raise StoreError where --report cannot write its page, before anything is computed."""
    from manifoldscope.report.small import MARK

    require_writable(path, MARK, "--report")


def write_report(path: str, page: str) -> None:
    """Write the page of --report, and say where it is beside what the command prints."""
    write(path, page, "--report")
    say(f"the page is in {path}", file=sys.stderr)


def require_writable(path: str, mark: str, option: str) -> None:
    """Raise StoreError where a page cannot be written, before anything is computed.

    A file that is there is replaced only if it bears the mark of such a page itself (`report.document.mark`).
    """
    file = Path(path)
    if not file.parent.is_dir():
        raise StoreError(
            f"cannot write {path}: there is no folder {str(file.parent)!r}; make it, or give another {option}"
        )
    if not (file.exists() or file.is_symlink()):
        return
    try:
        with open_regular(file) as opened:
            ours = mark.encode() in opened.read(_BEGINNING)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {why(error)}; give another {option}") from None
    if not ours:
        raise StoreError(
            f"{path} is in the way: it is no page of this command, and is not replaced; move it away, or give another "
            f"{option}"
        )


def write(path: str, page: str, option: str) -> None:
    """Write the page, whole or not at all.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    file = Path(os.path.realpath(path))
    draft = ""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=".draft-", suffix=".html", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as opened:
            opened.write(page)
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, file)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {why(error)}; give another {option}, or make room") from error


def command_line() -> str:
    """The command that is running, as it can be typed again."""
    return shlex.join(["manifoldscope", *sys.argv[1:]])


def versions(*libraries: str) -> dict[str, str]:
    """What a page was made with."""
    from importlib.metadata import PackageNotFoundError, version  # not above: `--help` would wait for it

    found = {"Python": platform.python_version()}
    for library in ("manifoldscope", *libraries):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
