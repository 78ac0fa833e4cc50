"""The command line: a command a file, each with its `arguments` and what it does (`execute`)."""

from __future__ import annotations

import argparse
import gc
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from manifoldscope import stopping
from manifoldscope.cli.printing import say
from manifoldscope.errors import ManifoldscopeError, unknown

COMMANDS = (
    *("plan", "run", "status", "verify", "report", "figures", "compare"),
    *("new", "list", "measure", "associate", "doctor"),
)
"""The files beside this one that hold a command, in the order in which help shows them."""

TAKE_PLUGINS = {"status", "verify", "report", "figures", "compare", "list", "measure"}
"""Commands that say with --plugin whose code is run; for `run`, the study file says it."""

ALLOCATIONS = 50_000
"""New objects after which Python looks for cycles. After its own 700, imports and figures, which make millions, spend
a sixth of their time on that."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Signals that ask a process to end, and that a run should hear."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 some units failed, 2 the request was wrong, 130 or 143 stopped."""
    gc.set_threshold(ALLOCATIONS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters than a class name has
    options, strangers = _parser().parse_known_args(arguments)
    if strangers:
        options.own.error(_strange(strangers[0], options.own))
    try:
        with _stopped_as_by_ctrl_c():
            if options.plugins:
                import_module("manifoldscope.plugins").load(options.plugins)
            status: int = import_module(f"{__name__}.{options.command}").execute(options)
            return status
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or stopping.requested():  # whatever a library made of it
            say("\nstopped; everything that was finished is kept, and the same command goes on", file=sys.stderr)
            return 128 + (stopping.requested() or signal.SIGINT)
        return _told(error, debug=options.debug)
    finally:
        if threading.current_thread() is threading.main_thread():
            stopping.forget()  # it was this command that was asked to end, and not what the process does next


def _strange(argument: str, command: argparse.ArgumentParser) -> str:
    """What is wrong with an argument that a command does not take."""
    if argument.startswith("--"):
        return unknown("option", argument.partition("=")[0], re.findall(r"--[a-z-]+", command.format_usage()))
    return f"nothing takes {argument!r}; put a name with a space in it between quotes"


def _told(error: BaseException, *, debug: bool) -> int:
    """Say what was wrong in one sentence, where it is the user's to mend; raise it again where it is ours."""
    if isinstance(error, ManifoldscopeError) and not debug:
        say(f"manifoldscope: {error}", file=sys.stderr)
        return 2
    if isinstance(error, BrokenPipeError):  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    raise error


@contextmanager
def _stopped_as_by_ctrl_c() -> Iterator[None]:
    """A request to end, as schedulers and `kill` send it, stops as cleanly as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        stopping.request(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping.forget()
    before = {number: signal.signal(number, stop) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manifoldscope",
        description="Why does this vision network fail on these classes? The geometry of class manifolds beside "
        "robustness, class by class.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name in COMMANDS:
        module = import_module(f"{__name__}.{name}")
        about = str(module.__doc__)
        sub = commands.add_parser(name, help=about[0].lower() + about[1:].rstrip("."), description=about)
        # after the command too; the default is left to the main parser
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        module.arguments(sub)
        sub.set_defaults(plugins=[], own=sub)
        if name in TAKE_PLUGINS:
            about = "run these files or modules, which register measures, kinds of unit, figures, ... of your own"
            sub.add_argument("--plugin", nargs="+", action="extend", dest="plugins", metavar="FILE", help=about)
    return parser
