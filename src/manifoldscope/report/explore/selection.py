"""Which networks, layers, measures, attacks and classes are in a page: all that fit, or those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import polars as pl

from manifoldscope.errors import StudyError, unknown
from manifoldscope.report import words
from manifoldscope.report.contents import Contents, Measure
from manifoldscope.report.rows import clean_geometry

MOST_VALUES = 400_000
"""Values of measures in a page: networks x layers x measures x classes."""

MOST_CELLS = 1_000
"""Networks x layers x measures in a page."""

MOST_CLASSES = 2_000

FEWEST = {"layers": 3, "measures": 4, "networks": 4}
"""What is left out first, and down to how many before the next."""

PARTS = ("networks", "layers", "measures", "attacks", "classes")
"""What can be asked for."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Selection:
    """What a page holds, each in its order.

    Attributes:
        classes: by class index.
        class_names: of the same.
        left_out: what there is beside it, in a sentence; empty where the page has everything.
        wanted: the parts that were asked for, of `PARTS`.
    """

    networks: tuple[str, ...]
    layers: tuple[str, ...]
    measures: tuple[Measure, ...]
    attacks: tuple[str, ...]
    classes: tuple[int, ...]
    class_names: tuple[str, ...]
    left_out: str = ""
    wanted: tuple[str, ...] = ()

    @property
    def asked_for(self) -> str:
        """What was asked for, in words, such as `the network cnn and the classes cat and dog`; empty if nothing was."""
        names = {
            "networks": self.networks,
            "layers": self.layers,
            "measures": [words.measure(*measure) for measure in self.measures],
            "attacks": [words.attack(attack) for attack in self.attacks],
            "classes": list(dict.fromkeys(self.class_names)),
        }
        one = {"classes": "class"}
        nouns = {part: one.get(part, part[:-1]) if len(names[part]) == 1 else part for part in PARTS}
        return words.listing(
            [f"the {nouns[part]} {words.listing(names[part])}" for part in PARTS if part in self.wanted]
        )

    @property
    def n_cells(self) -> int:
        """Networks x layers x measures."""
        return len(self.networks) * len(self.layers) * len(self.measures)

    @property
    def fits(self) -> bool:
        """Whether a page holds it."""
        return self.n_cells <= MOST_CELLS and self.n_cells * len(self.classes) <= MOST_VALUES


def select(contents: Contents, wanted: Mapping[str, Sequence[str]] | None = None) -> Selection:
    """What the page holds of a study: what was asked for, and of the rest as much as fits.

    Layers are left out first, evenly through the depth, then measures, then networks, from the end of the study file.

    Args:
        wanted: names by "networks", "layers", "measures", "attacks" or "classes", each a name or several with commas
            between them; a part that is not named is open.

    Raises:
        StudyError: a part or a name that the study does not have, or more than a page holds.
    """
    wanted = wanted or {}
    for part in wanted:
        if part not in PARTS:
            raise StudyError(unknown("part of a page", part, PARTS))
    names = class_names(contents)
    by_text = {_measure_text(measure): measure for measure in contents.measures}
    every = Selection(
        networks=_asked("network", wanted.get("networks"), list(contents.models)),
        layers=_asked("layer", wanted.get("layers"), list(contents.layers)),
        measures=tuple(by_text[text] for text in _asked("measure", wanted.get("measures"), list(by_text))),
        attacks=_asked("attack", wanted.get("attacks"), list(contents.attacks)),
        classes=(),
        class_names=(),
    )
    kept = _asked("class", wanted.get("classes"), list(dict.fromkeys(names.values())))
    classes = [index for index, name in names.items() if name in set(kept)][:MOST_CLASSES]
    every = replace(every, classes=tuple(classes), class_names=tuple(names[index] for index in classes))
    page = _fitting(every, free=[part for part in FEWEST if part not in wanted])
    if not page.fits:
        raise StudyError(
            f"{page.n_cells * len(page.classes):,} values are more than the {MOST_VALUES:,} that a page holds; ask for "
            "fewer layers, measures, networks or classes"
        )
    return replace(page, left_out=_left_out(page, contents, names), wanted=tuple(wanted))


def parsed(texts: Sequence[str]) -> dict[str, list[str]]:
    """What was asked for as `part=name,name`, several times.

    Raises:
        StudyError: one that is not of this form.

    Example:
        >>> parsed(["layers=fc,conv1", "layers=conv2", "classes=cat"])
        {'layers': ['fc,conv1', 'conv2'], 'classes': ['cat']}
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        part, equals, names = text.partition("=")
        if not (part and equals and names):
            raise StudyError(f"--select {text!r}: write PART=NAME,NAME, where PART is one of {', '.join(PARTS)}")
        found.setdefault(part, []).append(names)
    return found


def class_names(contents: Contents) -> dict[int, str]:
    """The name of each class that was measured or attacked, by its index."""
    rows = [
        table.select("class_index", pl.col("class_name").fill_null(""))
        for table in (clean_geometry(contents.tables["geometry"]), contents.tables["robustness"])
    ]
    found = pl.concat(rows).unique("class_index", keep="first").sort("class_index")
    return {index: name or str(index) for index, name in found.rows()}


def _measure_text(measure: Measure) -> str:
    return " ".join(filter(None, measure))


def _asked(noun: str, wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names that are asked for, in the order of those that are known; a measure also without its settings."""
    if wanted is None:
        return tuple(known)
    named: set[str] = set()
    for name in (name for text in wanted for name in ([text] if text in known else text.split(","))):
        alike = [each for each in known if name == each or (noun == "measure" and name == each.partition(" ")[0])]
        if not alike:
            raise StudyError(unknown(noun, name, known))
        named.update(alike)
    return tuple(name for name in known if name in named)


def _fitting(page: Selection, free: Sequence[str]) -> Selection:
    """The page with less of what was not asked for, until it fits or nothing more can be left out."""
    for part, fewest in FEWEST.items():
        names: tuple[Any, ...] = getattr(page, part)
        least = min(fewest, len(names))
        n = len(names)
        while part in free and not page.fits and n > least:
            n -= 1
            kept: Any = _thinned(names, n) if part == "layers" else names[:n]
            page = replace(page, **{part: kept})
    return page


def _thinned(names: Sequence[Item], n: int) -> tuple[Item, ...]:
    """The first, which is the main one, and others evenly."""
    rest = names[1:]
    places = [round(place * (len(rest) - 1) / max(1, n - 2)) for place in range(n - 1)]
    return (names[0], *(rest[place] for place in dict.fromkeys(places)))


def _left_out(page: Selection, contents: Contents, names: Mapping[int, str]) -> str:
    parts = [
        f"{len(kept)} of {words.number(n)} {noun}"
        for kept, n, noun in (
            (page.networks, len(contents.models), "networks"),
            (page.layers, len(contents.layers), "layers"),
            (page.measures, len(contents.measures), "measures"),
            (page.attacks, len(contents.attacks), "attacks"),
            (page.classes, len(names), "classes"),
        )
        if len(kept) < n
    ]
    return (
        f"This page holds {words.listing(parts)}; the tables hold all, and manifoldscope report --select makes other "
        "pages."
        if parts
        else ""
    )
