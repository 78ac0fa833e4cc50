"""From finished units to tables: read, name, count. Needs the store alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from manifoldscope.robustness.checks import (
    Judged,
    Row,
    collapse_check,
    failures_check,
    fast_path_check,
    feasibility_check,
    training_check,
    verdict_checks,
)
from manifoldscope.robustness.smallest import smallest_of
from manifoldscope.robustness.verdicts import Failures, FastPath, robustness_of
from manifoldscope.study.store import Store
from manifoldscope.study.unit import Unit
from manifoldscope.tables import TABLES, WHOLE, conform

JOINT = ("layer", "displacement")
"""The kinds of units whose rows are of several classes."""

CHECKING = ("inspect", "check")
"""The kinds of units that hold rows of `checks`."""


def collect(store: Store, units: Sequence[Unit]) -> dict[str, pl.DataFrame]:
    """Every table but `associations`, from the units that are done.

    Names of models, classes and threats come from the plan, so that renaming one computes nothing again.
    """
    done = [unit for unit in units if store.done(unit)]
    models = [_model(store.table(unit, "models"), unit) for unit in done if unit.kind == "inspect"]
    checks = [_named(store.table(unit, "checks"), model=unit.names["model"]) for unit in done if unit.kind in CHECKING]
    training = _training(store, done)
    checks += [conform("checks", _training_checks(training)), conform("checks", _attack_checks(store, done))]
    geometry = [
        _named(
            store.table(unit, "geometry"),
            **{name: unit.names[name] for name in ("model", "class_index", "class_name", "split")},
        )
        for unit in done
        if unit.kind == "geometry"
    ]
    geometry += [_of_places(store.table(unit, "geometry"), unit) for unit in done if unit.kind in JOINT]
    pairs = [
        _of_places(store.table(unit, "pairs"), unit).drop("class_name", "split")
        for unit in done
        if unit.kind == "layer"
    ]
    curves = [
        _named(
            store.table(unit, "curves"), **{name: unit.names[name] for name in ("model", "class_index", "class_name")}
        )
        for unit in done
        if unit.kind == "geometry"
    ]
    curves += [
        _named(store.table(unit, "curves"), model=unit.names["model"], class_index=WHOLE, class_name="")
        for unit in done
        if unit.kind == "layer"
    ]
    reliability = [
        _named(store.table(unit, "reliability"), model=unit.names["model"]) for unit in done if unit.kind == "layer"
    ]
    attacks = [unit for unit in done if unit.kind == "attack"]
    verdicts = [
        _named(store.table(unit, "verdicts"), **{name: unit.names[name] for name in ("model", "threat", "split")})
        for unit in attacks
    ]
    transfers = [_judged_by(store.table(unit, "transfer"), unit) for unit in done if unit.kind == "transfer"]
    shifts = [_of_places(store.table(unit, "shifted"), unit) for unit in done if unit.kind == "shifted"]
    detections = [_detected(store.table(unit, "detection"), unit) for unit in done if unit.kind == "detection"]
    set_aside = [store.table(unit, "set_aside") for unit in done if unit.kind == "draw"]
    tables = {
        "models": conform("models", pl.concat(models) if models else []),
        "geometry": conform("geometry", pl.concat(geometry, how="diagonal_relaxed") if geometry else []),
        "pairs": conform("pairs", pl.concat(pairs) if pairs else []),
        "curves": conform("curves", pl.concat(curves, how="vertical_relaxed") if curves else []),
        "reliability": conform("reliability", pl.concat(reliability) if reliability else []),
        "robustness": conform("robustness", []),
        "verdicts": conform("verdicts", []),
        "smallest": conform("smallest", []),
        "checks": conform("checks", pl.concat([conform("checks", table) for table in checks])),
        "transfer": conform("transfer", pl.concat(transfers) if transfers else []),
        "training": training,
        "convergence": conform("convergence", _convergence(store, done)),
        "shifted": conform("shifted", pl.concat(shifts) if shifts else []),
        "detection": conform(
            "detection",
            pl.concat(detections).unique(["model", "dataset", "layer", "score"], keep="first", maintain_order=True)
            if detections
            else [],
        ),
        "set_aside": conform("set_aside", pl.concat(set_aside).unique() if set_aside else []),
    }
    if verdicts:
        whole = pl.concat(verdicts)
        tables["robustness"] = robustness_of(whole, _classes(attacks))
        tables["verdicts"] = conform("verdicts", whole.drop("split"))
        kinds = {unit.names["threat"]: unit.inputs["threat"] for unit in attacks}
        reused = {unit.names["threat"] for unit in attacks if "reuses" in unit.inputs}
        judged = [
            {"model": model, **row}
            for (model,), rows in whole.group_by(["model"], maintain_order=True)
            for row in verdict_checks(rows, kinds, reused)
        ]
        tables["checks"] = conform("checks", pl.concat([tables["checks"], conform("checks", judged)]))
    searches = [unit for unit in done if unit.kind == "smallest"]
    if searches:
        # Whole searches are no attacks at one strength: they enter neither `robustness` nor the checks of verdicts.
        names = ("model", "threat", "split")
        found = pl.concat(
            _named(
                store.table(unit, "smallest").drop("low", "high"),
                **{name: unit.names[name] for name in names},
            )
            for unit in searches
        )
        tables["smallest"] = smallest_of(found, _classes(searches))
        rows = conform("verdicts", found.drop("split"))
        tables["verdicts"] = conform("verdicts", pl.concat([tables["verdicts"], rows]))
    return {name: conform(name, tables.get(name, [])) for name in TABLES if name != "associations"}


def _classes(units: Sequence[Unit]) -> pl.DataFrame:
    """Index and name of every class of these units."""
    names = {unit.names["class_index"]: unit.names["class_name"] for unit in units}
    return pl.DataFrame({"label": list(names), "class_name": list(names.values())})


def _training(store: Store, done: Sequence[Unit]) -> pl.DataFrame:
    """The history of each network that was trained here; what an older one did not note is null."""
    facts = [(unit.names["model"], _facts(store, unit)) for unit in done if unit.kind == "train"]
    rows = [
        {"model": model, "n_classes": found.get("n_classes"), **epoch}
        for model, found in facts
        for epoch in found.get("history", [])
    ]
    return conform("training", rows)


def _training_checks(training: pl.DataFrame) -> list[Row]:
    """Rows for each network that was trained here: whether its loss fell, and for adversarial training its collapse."""
    rows = []
    for (model,), epochs in training.filter(pl.col("n_classes") > 1).group_by(["model"], maintain_order=True):
        rows.append({"model": model, **training_check(epochs["loss"].to_list(), int(epochs["n_classes"][0]))})
        judged = epochs.filter(pl.col("n_images") > 0)
        if len(judged):
            counts = judged.select("epoch", "n_images", fgsm="n_survived_fgsm", pgd="n_survived_pgd")
            rows.append({"model": model, **collapse_check([Judged(**row) for row in counts.iter_rows(named=True)])})
    return rows


def _convergence(store: Store, done: Sequence[Unit]) -> list[Row]:
    """How many images stood after each step of the attacks that were checked."""
    return [
        {
            "model": unit.names["model"],
            "threat": unit.names["threat"],
            "strength": unit.inputs["strength"],
            "parameters": curve["parameters"],
            "n_steps": len(curve["n_survived"]) - 1,
            "step": step,
            "n_images": curve["n_images"],
            "n_survived": n_survived,
        }
        for unit in done
        if unit.kind == "check"
        for curve in _facts(store, unit).get("convergence", [])
        for step, n_survived in enumerate(curve["n_survived"])
    ]


def _attack_checks(store: Store, done: Sequence[Unit]) -> list[Row]:
    """Rows for each network and threat, from what its attacks noted class by class and strength by strength."""
    kept: dict[tuple[str, str], list[dict[str, Any]]] = {}
    fast: dict[tuple[str, str], list[FastPath]] = {}
    failures: dict[tuple[str, str], list[Failures]] = {}
    for unit in done:
        if unit.kind == "attack":
            of, facts = (unit.names["model"], unit.names["threat"]), _facts(store, unit)
            if "feasibility" in facts:
                kept.setdefault(of, []).append(facts["feasibility"])
            if "fast" in facts:
                fast.setdefault(of, []).append(FastPath(**facts["fast"]))
            if "failures" in facts:
                failures.setdefault(of, []).append(Failures(**facts["failures"]))
    rows = [{"model": model, **feasibility_check(threat, parts)} for (model, threat), parts in kept.items()]
    rows += [{"model": model, **fast_path_check(threat, parts)} for (model, threat), parts in fast.items()]
    return rows + [{"model": model, **failures_check(threat, parts)} for (model, threat), parts in failures.items()]


def _facts(store: Store, unit: Unit) -> dict[str, Any]:
    return dict((store.manifest(unit) or {}).get("facts", {}))


def _model(table: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """The row of a network; its provenance says of which network it is a retraining, under today's names."""
    known = json.loads(table["provenance"][0])
    if "replicate_of" in unit.names:
        known["replicate_of"] = unit.names["replicate_of"]
    return _named(table, model=unit.names["model"], provenance=json.dumps(known, sort_keys=True))


def _judged_by(table: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Rows of several networks, under today's names: a unit knows them by their place in its list."""
    judges = dict(enumerate(unit.names["judges"]))
    named = table.with_columns(judged_on=pl.col("place").replace_strict(judges, return_dtype=pl.String)).drop("place")
    return _named(
        named,
        made_on=unit.names["model"],
        threat=unit.names["threat"],
        parameters=unit.inputs["parameters"],
        strength=unit.inputs["strength"],
    )


def _detected(table: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Rows of one layer; the score of the output is of no layer, and the same in the unit of each."""
    layer = pl.when(pl.col("score") == "max_softmax").then(pl.lit("")).otherwise(pl.lit(unit.inputs["layer"]))
    return _named(table.with_columns(layer=layer), model=unit.names["model"], dataset=unit.names["dataset"])


def _of_places(table: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    """Rows of several classes, under today's names: a unit knows its classes by their place in its list."""
    classes = [*unit.names["classes"], [WHOLE, ""]]
    known = pl.DataFrame(
        {
            "place": pl.Series([*range(len(classes) - 1), WHOLE], dtype=pl.Int64),
            "class_index": pl.Series([label for label, _ in classes], dtype=pl.Int64),
            "class_name": [name for _, name in classes],
        }
    )
    named = table.join(known, on="place", how="left", maintain_order="left").drop("place")
    if "other_place" in named.columns:
        others = known.select(other_place="place", other_class_index="class_index")
        named = named.join(others, on="other_place", how="left", maintain_order="left").drop("other_place")
    names = ("model", "dataset", "split", "threat", "strength")
    given = {name: unit.names[name] for name in names if name in unit.names}
    return _named(named, **given)


def _named(table: pl.DataFrame, **names: object) -> pl.DataFrame:
    return table.with_columns(**{name: pl.lit(value) for name, value in names.items()})
