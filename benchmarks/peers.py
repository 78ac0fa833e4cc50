"""Environments for what the benchmarks are measured beside; each is made where it is missing or its pins have changed.

    python benchmarks/peers.py [geometry] [attacks]

The libraries of attacks see the project's own torch: one copy, one version, the same matrix products. The peers of
geometry need an older numpy, and share nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = "made-from.txt"


@dataclass(frozen=True)
class Environment:
    """An environment of its own, beside the project's.

    Attributes:
        folder: where it lies, seen from the repository.
        requirements: the file of pins in this folder.
        imports: modules that must be importable in it.
        shares: whether what it lacks is found in the environment that makes it; pins are then installed alone.
    """

    folder: str
    requirements: str
    imports: tuple[str, ...]
    shares: bool

    @property
    def place(self) -> Path:
        """Its folder."""
        return HERE.parent / self.folder

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.place / "bin" / "python"

    def made_from(self) -> str:
        """What it depends on: one that was made from anything else is made anew."""
        pins = (HERE / self.requirements).read_text(encoding="utf-8")
        version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        return "\n".join([version, sysconfig.get_path("purelib") if self.shares else "alone", pins])


ENVIRONMENTS = {
    "geometry": Environment(
        ".venv-peers", "requirements-geometry.txt", ("skdim", "dadapy", "quadprog", "cvxopt"), False
    ),
    "attacks": Environment(
        ".venv-peers-attacks", "requirements-attacks.txt", ("torchattacks", "foolbox", "art", "pyautoattack"), True
    ),
}


def python_with_peers(of: str) -> Path:
    """The Python of the environment `of` ("geometry" or "attacks"), made first where it has to be."""
    found = ENVIRONMENTS[of]
    if inside(found):
        return Path(sys.executable)
    mark = found.place / MARK
    if not mark.exists() or mark.read_text(encoding="utf-8") != found.made_from():
        make(found)
    return found.python


def run_with_peers(of: str) -> None:
    """Go on in the environment `of`: the script that calls this starts again there, with the same arguments."""
    if not inside(ENVIRONMENTS[of]):
        python = str(python_with_peers(of))
        os.execv(python, [python, *sys.argv])


def inside(environment: Environment) -> bool:
    """Whether this process runs in that environment."""
    return Path(sys.prefix).resolve() == environment.place.resolve()


def make(environment: Environment) -> None:
    """Make the environment, and try what is to be imported; nothing counts as made before that works."""
    print(f"making {environment.folder} (once; it may take some minutes)", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment.place)], check=True)
    alone = []
    if environment.shares:
        alone = ["--no-deps"]
        shared = sysconfig.get_path("purelib")
        (own,) = environment.place.glob("lib/python*/site-packages")
        # addsitedir and not the bare path: it reads the .pth files there, such as that of an editable install
        (own / "project.pth").write_text(f"import site; site.addsitedir({shared!r})\n", encoding="utf-8")
    pip = [str(environment.python), "-m", "pip", "-q", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, *alone, "-r", str(HERE / environment.requirements)], check=True)
    subprocess.run([str(environment.python), "-c", f"import {', '.join(environment.imports)}"], check=True)
    (environment.place / MARK).write_text(environment.made_from(), encoding="utf-8")


def main() -> None:
    """Make the environments that are named, or all, and print their Pythons."""
    parser = argparse.ArgumentParser(description="Make the environments of what the benchmarks are measured beside.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{' or '.join(ENVIRONMENTS)}; all if omitted")
    options = parser.parse_args()
    for name in options.names or ENVIRONMENTS:
        if name not in ENVIRONMENTS:
            parser.error(f"there is no environment {name!r}; expected {' or '.join(ENVIRONMENTS)}")
        print(python_with_peers(name))


if __name__ == "__main__":
    main()
