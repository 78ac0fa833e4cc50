"""What is said of a study that attacks nothing."""

from __future__ import annotations

import polars as pl

from manifoldscope.evidence.manifolds_alone import manifolds_alone
from manifoldscope.report import diagnose
from manifoldscope.report.story import story
from manifoldscope.tables import TABLES, conform


def tables(*layers: str) -> dict[str, pl.DataFrame]:
    rows = [
        {"model": "net", "layer": layer, "measure": "pca_dimension", "parameters": "fraction=0.95"}
        | {"class_index": label, "class_name": name, "value": float(value + 10 * place)}
        for place, layer in enumerate(layers)
        for label, (name, value) in enumerate({"cat": 7, "dog": 5, "eel": 9}.items())
    ]
    return {name: conform(name, rows if name == "geometry" else []) for name in TABLES}


def test_the_measure_runs_from_class_to_class() -> None:
    [first, *_] = diagnose(tables("penultimate"), asked={"geometry"})
    assert first.title == "PCA dimension (95% of variance) runs from 5 (dog) to 9 (eel): net, penultimate"
    assert "mean 7 over three classes, from 5 (dog) to 9 (eel)" in first.text
    (numbers,) = first.numbers
    assert (numbers["least_class"], numbers["least"], numbers["most_class"], numbers["most"]) == ("dog", 5, "eel", 9)
    told = story({}, tables("penultimate"), [first])
    assert told.answer == first.title
    assert told.change == ("Nothing was attacked, so that nothing is said of robustness.",)


def test_of_several_layers_the_means_are_compared() -> None:
    [first, *_] = diagnose(tables("early", "late"), asked={"geometry"})
    ends = "7 (net, early) to 17 (net, late)"
    assert first.title == f"The mean PCA dimension (95% of variance) of the classes goes from {ends}"


def test_where_classes_were_attacked_it_says_nothing() -> None:
    rows = [{"model": "net", "attack": "pgd", "strength": 0.1, "iterate": "any", "class_index": 0, "n_images": 5}]
    assert manifolds_alone({**tables("late"), "robustness": conform("robustness", rows)}) is None
    assert manifolds_alone({**tables(), "robustness": conform("robustness", [])}) is None
