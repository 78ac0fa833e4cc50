"""What a study survives: kills, a full disk, a tampered store, two drivers at once, and mutated files.

    python -m benchmarks.survival                       # some 40 minutes
    python -m benchmarks.survival --kills 10 --faults 10 --tampers 10 --mutations 1000

A small study of digits, with a unit of every kind, runs in child processes. After each kill nothing that was finished
may be lost or damaged, and the next runs must end with the tables of a run that nothing disturbed, value for value.

    kills      SIGKILL after a random time
    faults     SIGKILL before or after the N-th rename, fsync, unlink or mkdir
    full       the N-th fsync, rename or mkdir says that the disk is full: one sentence, and what is stored is kept
    tampers    a unit's folder, manifest or payload, the plan, a table or the record is changed: `verify` names it, and
               the next run computes it anew
    drivers    three processes on one folder: no unit is computed twice
    mutations  the fuzzers of tests/fuzz, in their long mode
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from tests.study import tiny

from manifoldscope.api import run
from manifoldscope.errors import StoreError
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.store import Store, manifest_digest
from manifoldscope.study.verify import verify

ROOT = Path(__file__).resolve().parent.parent
STUDY = tiny.raw(
    measures=["pca_dimension", "two_nn", "centroid_distance"],
    attacks=[
        {"kind": "pgd", "epsilons": [0, 0.1], "steps": 3, "displacement": True, "transfer": True},
        {"name": "kept", "kind": "pgd", "epsilons": [0.05], "steps": 2, "save": "uint8"},
    ],
    minimal=[{"steps": 3, "tolerance": 0.1}],
    **tiny.OTHERS,
    sampling={"split_halves": 2, "reliability": 2, "curve": 2},
)
TABLES = ("models", "geometry", "pairs", "reliability", "robustness", "outcomes", "minimal", "transfer", "shifts")
CALLS = {"rename": ("rename", "replace"), "fsync": ("fsync",), "unlink": ("unlink", "remove"), "mkdir": ("mkdir",)}
DONE, FULL = 0, 3


def apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a child: threads that a library starts here would not be there in the next child."""
    pid = os.fork()
    if not pid:
        try:
            function(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert ended(pid) == 0, f"{function.__name__} failed"


def child(folder: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run the study in a child; its process id. It ends with DONE, or FULL where the disk is said to be full."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        torch.set_num_threads(1)  # the network is tiny, and drivers run side by side
        prepare()
        result = run(parse(STUDY), out=folder, progress=Progress(quiet=True))
        code = DONE if not result.failed else 2
    except StoreError as error:
        code = FULL if "No space left on device" in str(error) else 1
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_call(names: tuple[str, ...], n: int, act: Callable[[], None], *, before: bool) -> Callable[[], None]:
    """What makes the n-th call of some function of `os` act."""

    def prepare() -> None:
        count = 0

        def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any, **settings: Any) -> Any:
                nonlocal count
                count += 1
                if count == n and before:
                    act()
                found = original(*arguments, **settings)
                if count == n and not before:
                    act()
                return found

            return called

        for name in names:
            setattr(os, name, wrapped(getattr(os, name)))

    return prepare


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def whole_units(folder: Path) -> set[str]:
    """The finished units of a folder, every one as it was written."""
    found = verify(folder)
    assert not found.problems, found.problems
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("units/*/[!.]*")}


def same_tables(folder: Path, reference: Path) -> None:
    for name in TABLES:
        ours, theirs = Store(folder).read_table(name), Store(reference).read_table(name)
        ours, theirs = (each.drop("seconds", strict=False) for each in (ours, theirs))
        keys = [column for column in theirs.columns if column not in ("note", "value")]
        assert ours.sort(keys).equals(theirs.sort(keys)), name


class Tally:
    """Counts, printed as they come."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, what: str, n: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n

    def say(self, heading: str, *names: str) -> None:
        print(f"{heading}: " + ", ".join(f"{self.counts.get(name, 0)} {name}" for name in names), flush=True)


def disturbed(folder: Path, reference: Path, n: int, disturb: Callable[[Path], str | None], tally: Tally) -> None:
    """Disturb runs n times, in as many studies as that takes; each must end as the reference did."""
    left = n
    while left:
        shutil.rmtree(folder, ignore_errors=True)
        done: set[str] = set()
        for _ in range(8):  # as often as one study is disturbed
            if not left or (what := disturb(folder)) is None:
                break
            tally.add(what)
            left -= 1
            if (folder / "manifoldscope.json").exists():
                now = whole_units(folder)
                assert done <= now, done - now
                done = now
        assert ended(child(folder)) == DONE
        apart(same_tables, folder, reference)
        assert not verify(folder).leftovers
        tally.add("studies that ended as the undisturbed one")


def kills(work: Path, reference: Path, seconds: float, n: int, chance: random.Random, tally: Tally) -> None:
    def at_a_random_time(folder: Path) -> str | None:
        pid = child(folder)
        time.sleep(chance.random() * seconds / 3)
        os.kill(pid, signal.SIGKILL)
        return "kills at a random moment" if ended(pid) == -signal.SIGKILL else None

    disturbed(work / "kills", reference, n, at_a_random_time, tally)


def faults(work: Path, reference: Path, n: int, chance: random.Random, tally: Tally) -> None:
    def at_the_nth_call(folder: Path) -> str | None:
        call = chance.choice(list(CALLS))
        prepare = at_call(CALLS[call], chance.randrange(1, 60), kill_me, before=chance.random() < 0.5)
        return f"kills at a {call}" if ended(child(folder, prepare)) == -signal.SIGKILL else None

    disturbed(work / "faults", reference, n, at_the_nth_call, tally)


def full_disks(work: Path, reference: Path, n: int, chance: random.Random, tally: Tally) -> None:
    def says_full(folder: Path) -> str | None:
        call = chance.choice(["fsync", "rename", "mkdir"])
        code = ended(child(folder, at_call(CALLS[call], chance.randrange(2, 60), no_space, before=True)))
        assert code in (FULL, DONE), f"a full disk at a {call} ended with {code}"
        return "full disks, each one sentence" if code == FULL else None

    disturbed(work / "full", reference, n, says_full, tally)


# --- tampering ------------------------------------------------------------------------------------------------------


def unit(folder: Path, chance: random.Random) -> Path:
    return chance.choice(sorted(folder.glob("units/*/[!.]*")))


def swapped(folder: Path, chance: random.Random) -> None:
    kind = chance.choice([kind for kind in folder.glob("units/*") if len(list(kind.iterdir())) > 1])
    first, second = chance.sample(sorted(kind.iterdir()), 2)
    first.rename(folder / "swap")
    second.rename(first)
    (folder / "swap").rename(second)


def moved(folder: Path, chance: random.Random) -> None:
    home = unit(folder, chance)
    home.rename(home.with_name("0" * 64))


def bit_in_payload(folder: Path, chance: random.Random) -> None:
    path = chance.choice(sorted(path for path in unit(folder, chance).iterdir() if path.name != "manifest.json"))
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def number_in_manifest(folder: Path, chance: random.Random) -> None:
    path = unit(folder, chance) / "manifest.json"
    text = path.read_text()
    place = chance.choice([match.start() for match in re.finditer(r"\d", text)])
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def other_payload(payload: Any) -> Callable[[Path, random.Random], None]:
    def tamper(folder: Path, chance: random.Random) -> None:
        path = unit(folder, chance) / "manifest.json"
        manifest = {**json.loads(path.read_text()), "payload": payload}
        path.write_text(json.dumps({**manifest, "digest": manifest_digest(manifest)}))

    return tamper


def manifest_of(text: str) -> Callable[[Path, random.Random], None]:
    def tamper(folder: Path, chance: random.Random) -> None:
        (unit(folder, chance) / "manifest.json").write_text(text)

    return tamper


def pipe_for_manifest(folder: Path, chance: random.Random) -> None:
    path = unit(folder, chance) / "manifest.json"
    path.unlink()
    os.mkfifo(path)


def file_for_folder(folder: Path, chance: random.Random) -> None:
    home = unit(folder, chance)
    shutil.rmtree(home)
    home.write_text("a file")


def link_for_folder(folder: Path, chance: random.Random) -> None:
    home = unit(folder, chance)
    home.rename(folder.parent / "elsewhere")
    home.symlink_to(folder.parent / "elsewhere")


def payload_lost(folder: Path, chance: random.Random) -> None:
    chance.choice([path for path in unit(folder, chance).iterdir() if path.name != "manifest.json"]).unlink()


def output(name: str, content: bytes | None) -> Callable[[Path, random.Random], None]:
    def tamper(folder: Path, chance: random.Random) -> None:
        path = folder / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return tamper


def edited_table(folder: Path, chance: random.Random) -> None:
    table = pl.read_parquet(io.BytesIO((folder / "tables/robustness.parquet").read_bytes()))
    with (folder / "tables/robustness.parquet").open("wb") as file:
        table.with_columns(robust_accuracy=pl.lit(1.0)).write_parquet(file)


TAMPERS: dict[str, Callable[[Path, random.Random], None]] = {
    "two units swapped": swapped,
    "a unit moved": moved,
    "a bit of a payload": bit_in_payload,
    "a digit of a manifest": number_in_manifest,
    "no payload": other_payload({}),
    "a payload elsewhere": other_payload({"../../../manifoldscope.json": "0"}),
    "a payload of a list": other_payload([1]),
    "a manifest of a list": manifest_of("[]"),
    "an empty manifest": manifest_of(""),
    "a manifest of brackets": manifest_of("[" * 100_000),
    "a pipe for a manifest": pipe_for_manifest,
    "a file for a folder": file_for_folder,
    "a link for a folder": link_for_folder,
    "a payload lost": payload_lost,
    "a plan of a list": output("plan.json", b"[]"),
    "a plan lost": output("plan.json", None),
    "a table changed": edited_table,
    "a table torn": output("tables/geometry.parquet", b"PAR1"),
    "a report lost": output("report.html", None),
    "a record of a list": output("outputs.json", b"[]"),
    "a record lost": output("outputs.json", None),
}


def tampers(work: Path, reference: Path, n: int, chance: random.Random, tally: Tally) -> None:
    for place in range(n):
        name, tamper = list(TAMPERS.items())[place % len(TAMPERS)]
        folder = work / "tampers"
        shutil.rmtree(work / "elsewhere", ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(reference, folder)
        apart(tamper, folder, chance)
        chance.random()  # the child drew from a copy
        found = verify(folder)
        assert found.problems or found.n_missing, f"{name} was not named"
        assert ended(child(folder)) == DONE, name
        apart(same_tables, folder, reference)
        after = verify(folder)
        assert not after.n_missing, name
        assert all(problem.path.endswith("0" * 64) for problem in after.problems), (name, after.problems)
        tally.add("tampered stores, named and made whole")


def drivers(work: Path, reference: Path, tally: Tally) -> None:
    """Three at once; a unit that was computed twice would have left something, or changed a manifest."""
    folder = work / "drivers"
    pids = [child(folder) for _ in range(3)]
    assert [ended(pid) for pid in pids] == [DONE] * 3
    apart(same_tables, folder, reference)
    assert whole_units(folder) == whole_units(reference)
    tally.add("times three drivers on one folder")


def mutations(n: int) -> str:
    """The fuzzers, so long that at least n files are tried; the last lines of what they print."""
    environment = {**os.environ, "MANIFOLDSCOPE_FUZZ": str(-(-n // 10))}
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "tests/fuzz"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return "; ".join(done.stdout.strip().splitlines()[-2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 60), ("faults", 60), ("full", 20), ("tampers", 63), ("mutations", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"how many ({default})")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        reference = work / "reference"
        began = time.monotonic()
        assert ended(child(reference)) == DONE
        seconds = time.monotonic() - began
        print(f"{len(whole_units(reference))} units, {seconds:.0f} s undisturbed", flush=True)
        kills(work, reference, seconds, options.kills, chance, tally)
        tally.say("killed", "kills at a random moment")
        faults(work, reference, options.faults, chance, tally)
        tally.say("faults", *(f"kills at a {call}" for call in CALLS))
        full_disks(work, reference, options.full, chance, tally)
        tally.say("full", "full disks, each one sentence")
        tampers(work, reference, options.tampers, chance, tally)
        tally.say("tampered", "tampered stores, named and made whole")
        drivers(work, reference, tally)
        tally.say("drivers", "times three drivers on one folder")
        tally.say("in all", "studies that ended as the undisturbed one")
    if options.mutations:
        print(f"mutated: {mutations(options.mutations)}", flush=True)
    print("nothing lost, no traceback, no hang")


if __name__ == "__main__":
    main()
