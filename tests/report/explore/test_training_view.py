"""The view of training: curves by epoch as the tables have them, and single classes as far as they fit."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from conftest import STUDY, study_tables
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import VIEWS, Explored, select
from manifoldscope.report.explore.views import training as view


def page_of(tables: dict[str, pl.DataFrame]) -> Explored:
    contents = gather(STUDY, tables, [])
    return Explored(contents, select(contents))


def shown(page: Explored) -> Any:
    return VIEWS["training"].target(page)


def test_curves_are_the_rows_of_the_tables(sampled: dict[str, pl.DataFrame]) -> None:
    page = page_of(sampled)
    data = shown(page)
    assert set(data["networks"]) == {"1", "2"}
    adversarial = data["networks"]["2"]
    rows = sampled["training"].filter(model="adversarial").sort("epoch")
    assert adversarial["loss"]["epoch"] == rows["epoch"].to_list()
    assert adversarial["loss"]["value"] == pytest.approx(rows["loss"].to_list(), rel=1e-3)
    assert adversarial["chance"] == pytest.approx(math.log(10), rel=1e-4)
    judged = rows.filter(pl.col("n_images") > 0)
    assert adversarial["trained"]["epoch"] == judged["epoch"].to_list()
    assert adversarial["trained"]["pgd"] == pytest.approx(
        (judged["n_robust_pgd"] / judged["n_images"]).to_list(), rel=1e-3
    )
    assert data["networks"]["1"]["trained"] is None
    whole = (
        sampled["training_accuracy"]
        .filter(model="standard")
        .group_by("epoch")
        .agg(pl.col("^n_.*$").sum())
        .sort("epoch")
    )
    accuracy = data["networks"]["1"]["accuracy"]
    assert accuracy["clean"] == pytest.approx((whole["n_clean_correct"] / whole["n_images"]).to_list(), rel=1e-3)
    assert accuracy["robust"] == pytest.approx((whole["n_robust"] / whole["n_images"]).to_list(), rel=1e-3)
    assert adversarial["text"].startswith("adversarial, after 40 epochs: the training loss is ")
    assert "200 training images 5% are classified correctly under PGD and 95% under FGSM" in adversarial["text"]


def test_measures_are_means_over_classes_with_the_lowest_and_highest(sampled: dict[str, pl.DataFrame]) -> None:
    page = page_of(sampled)
    data = shown(page)
    m = page.measures.index(("participation_ratio", ""))
    layer = page.layers.index("flatten")
    known = data["measures"][f"1.{layer}.{m}"]
    rows = sampled["training_probes"].filter(model="standard", layer="flatten").sort("epoch", "class_index")
    by_epoch = [part["value"] for part in rows.partition_by("epoch", maintain_order=True)]
    assert known["mean"] == pytest.approx([values.mean() for values in by_epoch], rel=1e-3)
    assert known["lowest"] == pytest.approx([values.min() for values in by_epoch], rel=1e-3)
    assert known["highest"] == pytest.approx([values.max() for values in by_epoch], rel=1e-3)
    classes = data["classes"][f"1.{layer}.{m}"]
    assert classes["epoch"] == [0, 20, 40]
    assert classes["of"][7] == pytest.approx([values[7] for values in by_epoch], rel=1e-3)
    assert data["left_out"] == ""


def test_long_trainings_stay_within_bounds(sampled: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MOST_VALUES", 500)
    monkeypatch.setattr(view, "MOST_POINTS", 40)
    epochs = pl.DataFrame({"_epoch": range(1, 501)})
    long = sampled["training"].filter(epoch=5).join(epochs, how="cross").with_columns(epoch=pl.col("_epoch"))
    probed = sampled["training_probes"].filter(epoch=0).join(epochs, how="cross").with_columns(epoch=pl.col("_epoch"))
    data = shown(page_of(sampled | {"training": long.drop("_epoch"), "training_probes": probed.drop("_epoch")}))
    loss = data["networks"]["2"]["loss"]
    assert (len(loss["epoch"]), loss["epoch"][0], loss["epoch"][-1]) == (view.MOST_EPOCHS, 1, 500)
    assert [len(each["epoch"]) for each in data["measures"].values()] == [10] * 4
    assert 0 < sum(len(each["epoch"]) * len(each["of"]) for each in data["classes"].values()) <= 500
    assert data["left_out"].startswith("Not in this page: some of the epochs and single classes of some measures")


def test_there_is_none_where_nothing_was_trained() -> None:
    assert shown(page_of(study_tables())) is None
