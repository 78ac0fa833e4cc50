"""What a forecast says beside what is measured: the memory and the seconds of whole runs, each in a new process.

    python benchmarks/forecast.py [CASE ...] [--memory 4GiB] [--trace]

Memory is the peak of the anonymous memory of the process (RssAnon), sampled from outside; seconds are those of the
units, which only an idle machine takes as forecast. Needs Linux, and for ResNet-50 its weights and the photographs (see
`real_networks.py`).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(os.environ.get("MANIFOLDSCOPE_DATA", "../shared/data")).resolve()
WEIGHTS = Path(os.environ.get("MANIFOLDSCOPE_WEIGHTS", DATA.parent / "weights")).resolve()

RESNET50 = f"""
[[models]]
name = "resnet50"
source = "torchvision:resnet50"
weights = "{WEIGHTS}/imagenet/resnet50.safetensors"
"""
PGD = """
[[attacks]]
kind = "pgd"
epsilons = [0.001]
steps = {steps}
"""


def _photographs(classes: int, measured: int, attacked: int) -> str:
    """Photographs of the first classes: so many of each to measure, and so many to attack."""
    folders = sorted(path.name for path in (DATA / "imagenet-20" / "val").iterdir())[:classes]
    return f"""
name = "forecast"
[data]
source = "imagenet"
root = "{DATA}/imagenet-20"
classes = {folders}
geometry = {{ split = "train", images_per_class = {measured} }}
robustness = {{ split = "val", images_per_class = {attacked} }}
"""


def _layers(*names: str) -> str:
    return f"layers = {list(names)}\n"


def _case(name: str) -> str:
    """A study file, or the name of a built-in study."""
    if name == "digits":
        return "digits"
    if name == "three classes":
        return _photographs(3, 8, 8) + RESNET50 + PGD.format(steps=5)
    if name == "one class":
        return _photographs(1, 40, 40) + RESNET50 + PGD.format(steps=3)
    if name == "capacity":
        layers = _layers("layer1", "layer2", "layer3", "layer4", "penultimate")
        measures = 'measures = [{ name = "capacity" }, { name = "pca_dimension" }]\n'
        noise = '[[attacks]]\nkind = "noise"\nepsilons = [0.01]\n'
        return layers + measures + _photographs(10, 20, 4) + RESNET50 + noise
    if name == "library":
        attack = '[[attacks]]\nkind = "{kind}"\nepsilons = [0.05]\nsteps = 10\n'
        data = '[data]\nsource = "digits"\nclasses = [0, 1, 2, 3, 4]\n'
        data += "geometry = { images_per_class = 20 }\nrobustness = { images_per_class = 30 }\n"
        model = '[[models]]\nname = "standard"\nsource = "small:cnn"\ntraining = { objective = "standard" }\n'
        attacks = attack.format(kind="apgd_ce") + attack.format(kind="autoattack") + "queries = 200\n"
        return 'name = "library"\n' + data + model + attacks
    raise SystemExit(f"no case {name!r}; expected one of: {', '.join(CASES)}")


CASES = ("digits", "three classes", "one class", "capacity", "library")


def _anonymous(process: int) -> float:
    """MiB of anonymous memory that a process holds now; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def _seconds(text: str) -> float:
    """Seconds as `progress.duration` writes them."""
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (h|min|s)\b", text))


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description="What a forecast says beside what is measured.")
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--memory", help="hand --memory on to the runs")
    parser.add_argument("--trace", action="store_true", help="print the memory as it grows, and the log of each run")
    options = parser.parse_args()
    columns = ("MiB forecast", "measured", "ratio", "s forecast", "measured", "ratio")
    print(f"{'case':<16}" + "".join(f"{column:>13}" for column in columns))
    for case in options.cases:
        with tempfile.TemporaryDirectory() as folder:
            study = _case(case)
            if "\n" in study:
                file = Path(folder) / "study.toml"
                file.write_text(study)
                study = str(file)
            command = [sys.executable, "-m", "manifoldscope", "run", study, "--out", f"{folder}/run"]
            command += ["--memory", options.memory] if options.memory else []
            log = Path(folder) / "log"
            with log.open("w") as opened:
                process = subprocess.Popen(command, stderr=opened, stdout=subprocess.DEVNULL)
                peak, began = 0.0, time.monotonic()
                while process.poll() is None:
                    now = _anonymous(process.pid)
                    if options.trace and now > peak + 20:
                        last = (log.read_text().splitlines() or [""])[-1]
                        print(f"  {time.monotonic() - began:6.2f} s {now:7.0f} MiB  {last[:100]}")
                    peak = max(peak, now)
                    time.sleep(0.01)
            said = log.read_text()
            if options.trace or process.returncode:
                print(said)
            memory = re.search(r"up to ([\d,]+) MiB", said)
            seconds = re.search(r"about ((?:\d+ (?:h|min|s) ?)+)", said)
            taken = re.search(r"units computed in (.*)", said)
            expected = float(memory[1].replace(",", "")) if memory else float("nan")
            guessed = _seconds(seconds[1]) if seconds else float("nan")
            took = _seconds(taken[1]) if taken else float("nan")
            cells = (f"{expected:,.0f}", f"{peak:,.0f}", f"{expected / peak:.2f}")
            cells += (f"{guessed:,.0f}", f"{took:,.0f}", f"{guessed / max(took, 1):.2f}")
            print(f"{case:<16}" + "".join(f"{cell:>13}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
