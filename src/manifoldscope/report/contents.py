"""What every figure is made from: tables, pictures, and names in the order of the study file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from manifoldscope.evidence import with_attack_name
from manifoldscope.evidence.depth import in_depth
from manifoldscope.pictures import Picture
from manifoldscope.report.lettering import lacking
from manifoldscope.report.rows import clean_geometry
from manifoldscope.tables import TABLES, conform, parameters_text

Measure = tuple[str, str]
"""A measure and its parameters, as the tables name them."""

_MAIN_LAYER = "penultimate"  # where the study file lists patterns, it comes first
_FIRST = ("pca_dimension", "centroid_distance")  # what most readers look for, where no study file says an order


@dataclass(frozen=True)
class Contents:
    """What every figure is made from.

    Attributes:
        tables: all of `manifoldscope.tables`, by name; those that were not given are empty.
        pictures: what units of work kept to be looked at.
        models, layers, attacks: names that there are, in the order of the study file. An attack has its
            parameters in its name where it was run in several ways (`evidence.with_attack_name`).
        listed: the measures of the study file.
    """

    tables: Mapping[str, pl.DataFrame]
    pictures: Sequence[Picture]
    models: Sequence[str]
    layers: Sequence[str]
    attacks: Sequence[str]
    listed: Sequence[Measure]

    def pictures_of(self, kind: str) -> list[Picture]:
        """The pictures of one kind, such as "spectrum"."""
        return [picture for picture in self.pictures if picture.of == kind]

    def iterate(self, attack: str) -> str:
        """`last` (Algorithm 1 as written) where it was judged."""
        rows = with_attack_name(self.tables["robustness"]).filter(pl.col("attack_name") == attack)
        return "last" if "last" in rows["iterate"].to_list() else "any"

    @property
    def measures(self) -> list[Measure]:
        """Every measure that has a value for a class, in the order of the study file."""
        return self.measures_in(clean_geometry(self.tables["geometry"]))

    def measures_in(self, table: pl.DataFrame, column: str = "value") -> list[Measure]:
        """Every measure that has a finite number in this column of a table, in the order of the study file."""
        found = table.filter(pl.col(column).is_finite()).select("measure", pl.col("parameters").fill_null("")).unique()
        return sorted(found.rows(), key=lambda each: (self._place(*each), each[0] not in _FIRST, each))

    def _place(self, measure: str, parameters: str) -> int:
        """That of the study's item of this name of which the most settings are the same."""
        same = [place for place, (name, _) in enumerate(self.listed) if name == measure]
        settings = set(parameters.split())
        return max(same, key=lambda place: len(settings & set(self.listed[place][1].split())), default=len(self.listed))

    @cached_property
    def stand_ins(self) -> dict[str, str]:
        """What is written for the names of classes that the font of the figures cannot write."""
        named: dict[str, int] = {}
        for name in ("geometry", "robustness"):
            classes = self.tables[name].select("class_name", "class_index").unique().drop_nulls()
            named |= dict(classes.sort("class_name", "class_index").rows())
        for picture in self.pictures:
            if isinstance(names := picture.names.get("output_names"), Mapping):
                named |= {str(text): int(index) for index, text in names.items()}
        return {name: f"class {index}" for name, index in named.items() if lacking(name)}

    def layers_in(self, table: pl.DataFrame) -> list[str]:
        """The layers of a table, in the order of the study file."""
        return as_listed(set(table["layer"]), self.layers)


def gather(study: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], pictures: Sequence[Picture]) -> Contents:
    """What figures are made from: the tables that are given, and what the study file and they name."""
    every = {name: conform(name, tables.get(name, [])) for name in TABLES}
    geometry, robustness = clean_geometry(every["geometry"]), with_attack_name(every["robustness"])
    placed = in_depth(geometry.select("model", "layer").unique(), every["layers"])
    deepest_last = placed.group_by("layer").agg(pl.col("depth").mean()).sort("depth", "layer")["layer"].to_list()
    models = {*every["models"]["model"], *geometry["model"], *robustness["model"], *_named(pictures, "model")}
    return Contents(
        tables=every,
        pictures=pictures,
        models=as_listed(models, _names(study, "models")),
        layers=as_listed(
            {*geometry["layer"], *_named(pictures, "layer")}, [*_names(study, "layers"), _MAIN_LAYER, *deepest_last]
        ),
        attacks=as_listed(set(robustness["attack_name"]), [*_names(study, "attacks"), *_names(study, "corruptions")]),
        listed=_measures(study),
    )


def as_listed(present: Iterable[str], listed: Sequence[str]) -> list[str]:
    """The names that are present in the order of the study file, where `name/seed` and `name ...` follow `name`."""

    def place(name: str) -> int:
        owners = (
            index for index, known in enumerate(listed) if name == known or name.startswith((f"{known}/", f"{known} "))
        )
        return next(owners, len(listed))

    return sorted(set(present), key=lambda name: (place(name), name))


def _named(pictures: Sequence[Picture], name: str) -> set[str]:
    return {str(picture.names[name]) for picture in pictures if name in picture.names}


def _names(study: Mapping[str, Any], section: str) -> list[str]:
    items = study.get(section) or []
    named = (item.get("name") or item.get("kind") if isinstance(item, Mapping) else item for item in items)
    return [str(name) for name in named]


def _measures(study: Mapping[str, Any]) -> list[Measure]:
    items = study.get("measures") or []
    settings = (
        {key: value for key, value in item.items() if key != "name"} if isinstance(item, Mapping) else {}
        for item in items
    )
    return list(zip(_names(study, "measures"), map(parameters_text, settings), strict=True))
