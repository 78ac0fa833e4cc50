"""Say what is installed, and what is missing."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from manifoldscope.cli.printing import say

OPTIONAL = {
    "timm": ("timm", "for networks of timm: pip install 'manifoldscope[timm]'"),
    "datasets": ("datasets", "for datasets of Hugging Face: pip install 'manifoldscope[huggingface]'"),
    "h5py": ("h5py", "for files of MATLAB 7.3: pip install 'manifoldscope[recordings]'"),
    "pyautoattack": ("pyautoattack", "for the tests, which compare attacks: pip install 'manifoldscope[test]'"),
    "foolbox": ("foolbox", "for the tests, likewise"),
    "torchattacks": ("torchattacks", "for the tests, likewise: pip install --no-deps torchattacks"),
}
"""What is not needed to run a study: the module that shows it is there, and the line that installs it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def execute(options: argparse.Namespace) -> int:
    """Print a line for each."""
    import torch

    from manifoldscope.study.run import choose_device, versions
    from manifoldscope.vision.memory import available_memory

    device = choose_device("auto")
    for name, value in versions(device).items():
        say(f"{name:<16} {value}")
    say(f"{'memory':<16} {available_memory() / 2**30:.1f} GiB free")
    say(f"{'cuda':<16} {'available' if torch.cuda.is_available() else 'not available'}")
    say(f"{'mps':<16} {'available' if torch.backends.mps.is_available() else 'not available'}")
    for part, (module, install) in OPTIONAL.items():
        say(f"{part:<16} {'installed' if find_spec(module) else f'missing; {install}'}")
    return 0
