"""Phrases that several findings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manifoldscope.evidence.measures import MAIN_MEASURE
from manifoldscope.evidence.significance import Coefficient

MOST_SPELLED_OUT = 4
"""Of more things than this the text gives the range and the strongest; the table below it has the rest."""

_SAID = {
    "pca_dimension": "dimension",
    "two_nn": "TwoNN dimension",
    "mle": "maximum likelihood dimension",
    "gride": "GRIDE dimension",
    "local_pca": "local PCA dimension",
    "rankme": "RankMe",
    "nc1_variability": "NC1",
    "nc2_equiangularity": "NC2 (angles)",
    "nc2_equinorm": "NC2 (norms)",
    "nc4_nearest_centroid": "NC4",
    "jacobian_norm": "Jacobian norm",
}


@dataclass(frozen=True)
class MeasureWords:
    """How a measure is spoken of."""

    measure: str

    @property
    def name(self) -> str:
        """In plain words, inside a sentence."""
        return _SAID.get(self.measure, self.measure.replace("_", " "))

    @property
    def full(self) -> dict[str, str]:
        """What a class or network with more, fewer or as many has."""
        if self.measure == MAIN_MEASURE:
            return {"more": "more dimensions", "fewer": "fewer dimensions", "same": "as many dimensions"}
        return {"more": f"a higher {self.name}", "fewer": f"a lower {self.name}", "same": f"the same {self.name}"}

    @property
    def brief(self) -> dict[str, str]:
        """The same, once the measure has been named."""
        if self.measure == MAIN_MEASURE:
            return {"more": "more", "fewer": "fewer", "same": "as many"}
        return {"more": "a higher one", "fewer": "a lower one", "same": "the same"}


def signed(value: float) -> str:
    """A coefficient with its sign, which is a real minus: `−0.75`."""
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "\u2212")


def interval(low: float | None, high: float | None) -> str:
    """`−0.75 to −0.45`."""
    return "no interval" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def p_value(found: Coefficient) -> str:
    """`, adjusted p = 0.004`; empty where chance was not tested."""
    if found.p_value is None:
        return ""
    if found.p_adjusted is None:
        return f", p = {found.p_value:.2g}"
    return f", adjusted p = {found.p_adjusted:.2g}"


def not_counted(excluded: Mapping[str, float]) -> str:
    """Which networks are left out because they are at chance level; empty where none is."""
    if not excluded:
        return ""
    named = some([f"{network} ({accuracy:.1%} clean)" for network, accuracy in excluded.items()])
    return f"Not counted: {named}. The accuracies of a network at chance level are not informative."


def found_four_times_in_five(n: int, what: str, smallest: float) -> str:
    """How strong an association had to be to be seen."""
    return f"With {n} {what} only |r| above about {smallest:.2f} would be found four times in five"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`; nothing of none."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names, and how many more there are."""
    return listed(names) if len(names) <= most else f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"


def plural(n: int, noun: str, ending: str = "s") -> str:
    """`1 network`, `3 networks`."""
    return f"{n} {noun}{ending * (n != 1)}"


def every(n: int) -> str:
    """`both`, or `all 3`."""
    return "both" if n == 2 else f"all {n}"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
