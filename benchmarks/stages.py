"""What each stage of the digits study costs: seconds and share, from a fresh run.

    python benchmarks/stages.py [STUDY] [--set KEY=VALUE ...] [--json FILE]

Times are those that the units themselves recorded, on an otherwise idle machine; what is left of the whole is start-up,
drawing images, the forecast, tables, figures and the report.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from manifoldscope.api import conclude
from manifoldscope.study import Store, load, run_units
from manifoldscope.study.progress import Progress


def main() -> None:
    """Run the study in a temporary folder and print the table."""
    parser = argparse.ArgumentParser(description="What each stage of a study costs.")
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        began = time.perf_counter()
        outcome = run_units(load(options.study, options.changes), store, progress=Progress(quiet=True))
        computed = time.perf_counter()
        conclude(store)
        concluded = time.perf_counter()
        seconds: Counter[str] = Counter()
        units: Counter[str] = Counter()
        for unit in outcome.units:
            manifest = store.manifest(unit)
            if manifest is not None:
                seconds[unit.kind] += manifest["seconds"]
                units[unit.kind] += 1
        stages = dict(seconds)
        stages["plan, forecast, store"] = computed - began - sum(seconds.values())
        stages["tables, figures, report"] = concluded - computed
        whole = concluded - began
    print(f"{options.study}: {whole:.1f} s on {torch.get_num_threads()} threads, {platform.machine()}")
    print(f"{'stage':<26} {'units':>6} {'seconds':>9} {'share':>7}")
    for stage, cost in sorted(stages.items(), key=lambda item: -item[1]):
        print(f"{stage:<26} {units[stage] or '':>6} {cost:>9.2f} {cost / whole:>7.1%}")
    if options.json:
        options.json.write_text(json.dumps({"study": options.study, "seconds": stages, "whole": whole}, indent=1))


if __name__ == "__main__":
    main()
