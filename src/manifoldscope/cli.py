"""The command line: parse, call, print."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from textwrap import fill
from typing import Any, TextIO

from manifoldscope import stopping
from manifoldscope.errors import ManifoldscopeError, StudyError, printable
from manifoldscope.outline import Item, OutlineError, any_installed, outline, questions

OPTIONAL = {
    "timm": ("timm", "for networks of timm: pip install 'manifoldscope[timm]'"),
    "datasets": ("datasets", "for datasets of Hugging Face: pip install 'manifoldscope[huggingface]'"),
    "foolbox": ("foolbox", "for the attacks fmn and deepfool: pip install 'manifoldscope[attacks]'"),
    "pyautoattack": ("pyautoattack", "for AutoAttack and its four parts: pip install 'manifoldscope[attacks]'"),
    "h5py": ("h5py", "for files of MATLAB 7.3: pip install 'manifoldscope[recordings]'"),
    "torchattacks": ("torchattacks", "for the tests, which compare attacks: pip install --no-deps torchattacks"),
}
"""What is not needed to run a study: the module that shows it is there, and the line that installs it."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Signals that ask a process to end, and that a run should hear."""

REGISTRIES = {
    "datasets": ("manifoldscope.vision.datasets", "DATASETS"),
    "models": ("manifoldscope.vision.sources", "SOURCES"),
    "small networks": ("manifoldscope.vision.small", "SMALL"),
    "measures": ("manifoldscope.geometry.estimate", "MEASURES"),
    "attacks": ("manifoldscope.attacks.perturbation", "ATTACKS"),
    "corruptions": ("manifoldscope.attacks.perturbation", "CORRUPTIONS"),
    "objectives": ("manifoldscope.training.objectives", "OBJECTIVES"),
    "figures": ("manifoldscope.report.figure", "FIGURES"),
    "findings": ("manifoldscope.report.findings.finding", "FINDINGS"),
}
"""The registry of each kind: the module that defines it, and its name there."""

KINDS = (
    "studies",
    "datasets",
    "models",
    "measures",
    "attacks",
    "corruptions",
    "objectives",
    "figures",
    "findings",
    "layers",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 some units failed, 2 the request was wrong, 130 or 143 stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters than a class name has
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        with _stopped_as_by_ctrl_c():
            return command(options)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or stopping.requested():  # whatever a library made of it
            _say("\nstopped; everything that was finished is kept, and the same command goes on", file=sys.stderr)
            return 128 + (stopping.requested() or signal.SIGINT)
        return _told(error, debug=options.debug)


def _told(error: BaseException, *, debug: bool) -> int:
    """Say what was wrong in one sentence, where it is the user's to mend; raise it again where it is ours."""
    if isinstance(error, ManifoldscopeError) and not debug:
        _say(f"manifoldscope: {error}", file=sys.stderr)
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


def _say(text: str = "", *, file: TextIO | None = None) -> None:
    """Print a line, in which no name may speak to the terminal."""
    print(printable(text), file=file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manifoldscope",
        description="Why does this vision network fail on these classes? The geometry of class manifolds beside "
        "robustness, class by class.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
        sub.set_defaults(command=does)
        # after the command too; the default is left to the main parser
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return sub

    run = command("run", _run, "run what is missing of a study, and write its report")
    run.add_argument("study", metavar="STUDY", help="a built-in study by name, or a TOML file")
    run.add_argument("--out", metavar="DIR", help="folder of the results (runs/<name of the study>)")
    run.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change any key of the study file, by its dotted name: data.geometry.images_per_class=50",
    )
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    run.add_argument(
        "--memory",
        metavar="SIZE",
        help="how much memory the process may take, as 4GiB or 500MB (most of what is available)",
    )
    run.add_argument("--quiet", action="store_true", help="show no progress")

    about = command("status", _status, "say what is done, running, failed and missing")
    about.add_argument("folder", metavar="DIR")
    about.add_argument("--json", action="store_true", help="print JSON instead")
    check = command("verify", _verify, "check everything in a folder of results against what was written")
    check.add_argument("folder", metavar="DIR")
    check.add_argument("--json", action="store_true", help="print JSON instead")
    report = command("report", _report, "rebuild tables, figures and report from the store alone")
    report.add_argument("folder", metavar="DIR")

    new = command("new", _new, "print a built-in study, to edit")
    new.add_argument("name", metavar="NAME", help="see: manifoldscope list studies")
    new.add_argument("--schema", action="store_true", help="print the JSON schema of study files instead")

    listing = command("list", _list, "list what can be named in a study file, and the figures of a report")
    listing.add_argument("kind", choices=KINDS)
    listing.add_argument(
        "--plugin", action="append", dest="plugins", default=[], metavar="FILE", help="list what this file adds, too"
    )
    listing.add_argument("--model", help="with layers: the network, for example torchvision:resnet50")
    listing.add_argument("--size", type=int, default=None, help="with layers: side of the input image")

    measure = command("measure", _measure, "measure any matrix of points: activations, or recordings of neurons")
    measure.add_argument(
        "points",
        metavar="POINTS",
        help=".npy, .csv, .tsv or .parquet, one row a point; .npz or .mat, by the names of its arrays; or .safetensors",
    )
    measure.add_argument(
        "--labels",
        metavar="LABELS",
        help="one whole number or text a point: a column or array of POINTS, or a file (.npy, .csv, .tsv, .parquet)",
    )
    measure.add_argument(
        "--points", metavar="NAME", dest="array", help="the array of an .npz or .mat file that is meant"
    )
    measure.add_argument(
        "--axes",
        metavar="NAMES",
        help="the axes of the array: trials,neurons,time or neurons,trials; classes may have one of their own",
    )
    measure.add_argument(
        "--window",
        type=_window,
        metavar="START:STOP",
        help="of the axis `time`: its samples from START to before STOP",
    )
    measure.add_argument(
        "--pool",
        action="append",
        type=_pool,
        default=[],
        metavar="AXIS=HOW",
        help="for each further axis, such as time: its mean, flatten (into features), or each (measured apart)",
    )
    measure.add_argument(
        "--measure",
        dest="names",
        metavar="NAME",
        action="append",
        help="a measure by name (manifoldscope list measures); by default all that measure one class",
    )
    measure.add_argument(
        "--set",
        dest="changes",
        metavar="NAME.KEY=VALUE",
        action="append",
        default=[],
        help="a setting of a measure: pca_dimension.fraction=0.9",
    )
    measure.add_argument(
        "--scaling",
        choices=("none", "standardise"),
        default="none",
        help="standardise: every feature to a variance of 1",
    )
    measure.add_argument(
        "--halvings", type=_number, default=5, metavar="N", help="random halves for standard errors (5); 0: none"
    )
    measure.add_argument("--equal", action="store_true", help="as many points of each class as the smallest has")
    measure.add_argument(
        "--null", type=_number, default=0, metavar="N", help="draws of a null, such as 40: Gaussian, or shuffled labels"
    )
    instead = measure.add_mutually_exclusive_group()
    instead.add_argument("--curve", action="store_true", help="print each measure against the number of points instead")
    instead.add_argument(
        "--extrapolate",
        type=_factor,
        metavar="FACTOR",
        help="print what so many times the points would show instead, or why that cannot be told",
    )
    instead.add_argument(
        "--reliability", action="store_true", help="print split-half reliabilities across classes instead"
    )
    instead.add_argument(
        "--outcome",
        metavar="TABLE",
        help="associate each measure with the column --y of this table instead",
    )
    measure.add_argument("--y", metavar="COLUMN", help="with --outcome: its column of numbers")
    measure.add_argument("--key", metavar="COLUMN", help="with --outcome: its column with the names of the classes")
    measure.add_argument(
        "--control", action="append", default=[], metavar="COLUMN", help="with --outcome: a column to hold fixed"
    )
    measure.add_argument("--seed", type=int, default=0, help="of every random draw (0)")
    measure.add_argument("--json", action="store_true", help="print JSON instead of a table")

    associate = command("associate", _associate, "relate two columns of any table, with intervals and p-values")
    associate.add_argument("table", metavar="TABLE", help=".csv or .tsv (UTF-8, with a header), or .parquet")
    associate.add_argument("--x", required=True, metavar="COLUMN")
    associate.add_argument("--y", required=True, metavar="COLUMN")
    associate.add_argument("--control", action="append", default=[], metavar="COLUMN", help="held fixed")
    associate.add_argument("--by", metavar="COLUMN", help="one answer for each value of this column")
    associate.add_argument("--seed", type=int, default=0)
    associate.add_argument("--json", action="store_true", help="print JSON instead of a table")

    command("doctor", _doctor, "say what is installed, and what is missing")
    return parser


def _number(text: str) -> int:
    """A whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of draws; expected a whole number, 0 for none")
    return number


def _factor(text: str) -> float:
    """A factor by which samples are extrapolated."""
    from manifoldscope.geometry.extrapolation import FARTHEST

    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 1 < factor <= FARTHEST:
        raise argparse.ArgumentTypeError(
            f"{text} times the points cannot be told; expected more than 1 and at most {FARTHEST}, as 2"
        )
    return factor


def _window(text: str) -> tuple[int, int]:
    """Samples START:STOP of an axis."""
    start, _, stop = text.partition(":")
    try:
        return int(start), int(stop)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no window; expected START:STOP in samples, as 10:30") from None


def _pool(text: str) -> tuple[str, str]:
    """What becomes of an axis: NAME=HOW."""
    name, equals, how = text.partition("=")
    if not name or not equals or not how:
        raise argparse.ArgumentTypeError(f"{text} says nothing of an axis; expected AXIS=HOW, as time=mean")
    return name, how


def _run(options: argparse.Namespace) -> int:
    from manifoldscope.api import run
    from manifoldscope.study.progress import Progress

    result = run(
        options.study,
        out=options.out,
        changes=options.changes,
        device=options.device,
        memory=options.memory,
        progress=Progress(quiet=options.quiet),
    )
    for finding in result.findings:
        _say(f"\n{finding.title}\n{_wrapped(finding.text)}")
        for caveat in finding.caveats:
            _say(_wrapped(f"but: {caveat}"))
    _say(f"\nreport: {result.report}")
    if result.failed:
        _say(f"\nfailed ({len(result.failed)}):", file=sys.stderr)
        for label, error in result.failed.items():
            _say(f"  {label}: {error}", file=sys.stderr)
        return 1
    return 0


def _wrapped(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n".join(fill(part, width=100, initial_indent="  ", subsequent_indent="    ") for part in paragraphs)


def _status(options: argparse.Namespace) -> int:
    from manifoldscope.api import status

    found = status(options.folder)
    if options.json:
        _print_json({**vars(found), "skipped_images": found.skipped_images.to_dicts()})
        return 1 if found.failed else 0
    counts = [("done", found.done), ("running", found.running), ("failed", found.failed), ("missing", found.missing)]
    _say(", ".join(f"{len(labels)} {state}" for state, labels in counts))
    for label in found.running:
        _say(f"running: {label}")
    for label, error in found.failed.items():
        _say(f"failed: {label}: {error}")
    for label in found.missing[:20]:
        _say(f"missing: {label}")
    if len(found.missing) > 20:
        _say(f"missing: ... and {len(found.missing) - 20} more")
    for row in found.skipped_images.iter_rows(named=True):
        _say(f"skipped: {row['image']}: {row['reason']}")
    return 1 if found.failed else 0


def _verify(options: argparse.Namespace) -> int:
    from manifoldscope.study.verify import verify

    found = verify(options.folder)
    if options.json:
        _print_json(asdict(found))
        return 1 if found.problems else 0
    for problem in found.problems:
        _say(f"damaged: {problem.path}{f' ({problem.label})' if problem.label else ''}: {problem.reason}")
        for label in problem.dependents:
            _say(f"    {label} rests on it")
    for path in found.leftovers:
        _say(f"half-written: {path}")
    for path in found.strangers:
        _say(f"not ours: {path}")
    if found.unfinished:
        _say("tables, figures and the report are being written, or were when a run was stopped: the next run does so")
    _say(f"{found.n_whole} units whole, {len(found.problems)} damaged, {found.n_missing} missing; nothing was changed")
    if found.problems:
        _say("`manifoldscope run` computes damaged units anew, and keeps what was there in damaged/")
    return 1 if found.problems else 0


def _report(options: argparse.Namespace) -> int:
    from manifoldscope.api import conclude
    from manifoldscope.study.store import Store

    _say(str(conclude(Store(options.folder), anew=True)))
    return 0


def _new(options: argparse.Namespace) -> int:
    from manifoldscope.study.plan import json_schema, preset_text

    print(json.dumps(json_schema(), indent=1) if options.schema else preset_text(options.name), end="")
    return 0


def _list(options: argparse.Namespace) -> int:
    if options.kind == "layers":
        return _list_layers(options)
    if options.plugins:
        from manifoldscope import plugins

        plugins.load(options.plugins)
    for name, about in (
        _studies() if options.kind == "studies" else _items(options.kind, with_plugins=bool(options.plugins))
    ):
        _say(f"{name}\n{_wrapped(about)}")
    return 0


def _studies() -> list[tuple[str, str]]:
    try:
        return questions()
    except OutlineError:
        from manifoldscope.study.plan import load, preset_names

        return [(name, load(name).question) for name in preset_names()]


def _items(kind: str, *, with_plugins: bool) -> list[tuple[str, str]]:
    """Name, settings and origin of each item, and what it is."""
    found = [(item.name, item) for item in _registered(kind, with_plugins=with_plugins)]
    if kind == "models":
        small = _registered("small networks", with_plugins=with_plugins)
        found += [(f"small:{item.name}", item) for item in small]
    return [
        (name + _signature(item) + (f" from {item.origin}" if item.origin else ""), item.summary)
        for name, item in found
    ]


def _registered(kind: str, *, with_plugins: bool = False) -> list[Item]:
    """The items of a registry, read from its files if they can be: to import them takes seconds."""
    try:
        if not with_plugins and not any_installed():
            return outline(*REGISTRIES[kind])
    except OutlineError:
        pass
    return _imported(kind)


def _imported(kind: str) -> list[Item]:
    module, name = REGISTRIES[kind]
    return [
        Item(
            entry.name,
            {key: ... if info.is_required() else info.default for key, info in entry.settings.model_fields.items()},
            entry.summary,
            entry.origin,
        )
        for entry in getattr(import_module(module), name)
    ]


def _signature(item: Item) -> str:
    settings = [name if default is ... else f"{name}={default!r}" for name, default in item.settings.items()]
    return f" ({', '.join(settings)})" if settings else ""


def _list_layers(options: argparse.Namespace) -> int:
    from manifoldscope.vision.activations import layer_table
    from manifoldscope.vision.sources import network

    if not options.model:
        raise StudyError("list layers needs a network: --model torchvision:resnet50")
    spec = options.model if ":" in options.model else f"torchvision:{options.model}"
    shape = {"channels": 3, "size": options.size or 32, "n_classes": 10} if spec.startswith("small:") else {}
    made = network(spec, **shape)
    side = options.size or made.preprocessing.crop or 224
    for layer in layer_table(made, made.shape(side)):
        _say(f"{layer.name:<40} {layer.type:<24} {' x '.join(map(str, layer.shape))}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    from manifoldscope.geometry import MEASURES
    from manifoldscope.recordings import (
        curves,
        equally_many,
        extrapolations,
        load_sets,
        measured,
        reliabilities,
        stepwise,
    )
    from manifoldscope.study.plan import parse_change

    if options.null and (
        instead := [name for name in ("curve", "extrapolate", "reliability", "outcome") if getattr(options, name)]
    ):
        raise StudyError(f"--null stands beside values, which --{instead[0]} does not print; leave out one of them")
    _require_outcome(options)
    sets = load_sets(
        options.points,
        options.labels,
        points=options.array,
        axes=options.axes,
        window=options.window,
        pool=dict(options.pool),
    )
    _require_classes(options, len(sets[0].manifolds))
    names = options.names or [entry.name for entry in MEASURES if entry.traits["reads"] != "clouds"]
    settings: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in options.changes:
        path, value = parse_change(change)
        name, _, key = path.partition(".")
        if name not in settings or not key:
            raise StudyError(f"--set {change}: expected NAME.KEY=VALUE with one of the measures: {', '.join(settings)}")
        settings[name][key] = value
    wanted = [(name, MEASURES[name].validate(own)) for name, own in settings.items()]
    common = {"scaling": options.scaling, "seed": options.seed}

    def table(manifolds: Any) -> Any:
        if options.equal:
            manifolds = equally_many(manifolds, seed=options.seed)
        if options.curve:
            return curves(manifolds, wanted, **common)
        if options.extrapolate:
            return extrapolations(manifolds, wanted, factor=options.extrapolate, **common)
        if options.reliability:
            return reliabilities(manifolds, wanted, **common)
        halvings = 0 if options.outcome else options.halvings
        return measured(manifolds, wanted, halvings=halvings, null=options.null, **common)

    found = stepwise(sets, table)
    if options.outcome:
        found = _beside_outcome(options, found)
    _print_table(found, as_json=options.json)
    return 0


def _require_outcome(options: argparse.Namespace) -> None:
    """Raise StudyError where an outcome was given without its column, or the other way round."""
    if options.outcome and not options.y:
        raise StudyError(f"--outcome {options.outcome} needs --y COLUMN, the numbers that measures are associated with")
    for name in ("y", "key", "control"):
        if getattr(options, name) and not options.outcome:
            raise StudyError(f"--{name} is a column of an outcome; give --outcome TABLE as well")


def _beside_outcome(options: argparse.Namespace, measured: Any) -> Any:
    from manifoldscope.api import associate_outcome
    from manifoldscope.frames import read_frame

    outcome = read_frame(options.outcome, numeric=[options.y, *options.control])
    return associate_outcome(
        measured, outcome, y=options.y, key=options.key, controls=tuple(options.control), seed=options.seed
    )


def _require_classes(options: argparse.Namespace, n_classes: int) -> None:
    for name, least in (("equal", 2), ("reliability", 3)):
        if getattr(options, name) and n_classes < least:
            raise StudyError(
                f"--{name} compares classes: it needs {least} at least, and {options.points} has {n_classes}; "
                "give --labels, one label a point"
            )


def _associate(options: argparse.Namespace) -> int:
    from manifoldscope.evidence import associate_frame
    from manifoldscope.frames import read_frame

    frame = read_frame(options.table, numeric=[options.x, options.y, *options.control])
    found = associate_frame(
        frame, options.x, options.y, controls=tuple(options.control), by=options.by, seed=options.seed
    )
    _print_table(found, as_json=options.json)
    return 0


def _print_table(table: Any, *, as_json: bool) -> None:
    if as_json:
        _print_json(table.to_dicts())
        return
    columns = [name for name in table.columns if any(value not in (None, "") for value in table[name])]
    lines = [columns, *([_cell(value) for value in row] for row in table.select(columns).rows())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        _say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _print_json(value: Any) -> None:
    """JSON as its standard has it: what is not a finite number is null."""

    def valid(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, Mapping):
            return {name: valid(item) for name, item in value.items()}
        return [valid(item) for item in value] if isinstance(value, list | tuple) else value

    print(json.dumps(valid(value), indent=1, allow_nan=False, default=str))  # dates and the like


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _doctor(options: argparse.Namespace) -> int:
    import torch

    from manifoldscope.study.run import choose_device, versions
    from manifoldscope.vision.memory import available_memory

    device = choose_device("auto")
    for name, value in versions(device).items():
        _say(f"{name:<16} {value}")
    _say(f"{'memory':<16} {available_memory() / 2**30:.1f} GiB free")
    _say(f"{'cuda':<16} {'available' if torch.cuda.is_available() else 'not available'}")
    _say(f"{'mps':<16} {'available' if torch.backends.mps.is_available() else 'not available'}")
    for part, (module, install) in OPTIONAL.items():
        _say(f"{part:<16} {'installed' if find_spec(module) else f'missing; {install}'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
