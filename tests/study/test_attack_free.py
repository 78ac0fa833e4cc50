"""Attack-free predictors: their section of a study file, their table, and what enters their keys."""

from __future__ import annotations

import itertools
import re

import polars as pl
import pytest
import tomli_w

from manifoldscope.attacks import lipschitz_estimates
from manifoldscope.cli import main
from manifoldscope.errors import StudyError
from manifoldscope.seeds import derive
from manifoldscope.study import Store, run_units
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.results import collect
from tests.study import tiny

ASKED = [{"radius": 0.1, "samples": 3}, {"name": "wide", "norm": "l2", "radius": 2.0, "samples": 2}]

BLIND = """
import torch
from torch import nn


class Blind(nn.Module):
    def forward(self, pixels):
        return pixels.flatten(1)[:, :3].detach()


def blind():
    return Blind()
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study with attack-free predictors, run from its file by the command line; tests only read it."""
    folder = tmp_path_factory.mktemp("attack_free")
    (folder / "tiny.toml").write_text(tomli_w.dumps(tiny.raw(attack_free=ASKED)))
    assert main(["run", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def test_the_table_has_both_predictors_of_every_class_and_network(finished):
    table = pl.read_parquet(finished / "tables" / "attack_free.parquet")
    parameters = {
        ("linf", "first_order_distance"): "norm=linf",
        ("linf", "local_lipschitz_distance"): "norm=linf radius=0.1 samples=3",
        ("wide", "first_order_distance"): "norm=l2",
        ("wide", "local_lipschitz_distance"): "norm=l2 radius=2 samples=2",
    }
    found = table.select("model", "class_index", "estimate", "predictor", "parameters").rows()
    cells = itertools.product(("adversarial", "random"), (1, 4, 7), parameters.items())
    assert set(found) == {(model, label, *names, text) for model, label, (names, text) in cells}
    assert len(found) == 2 * 3 * 4
    assert set(table["n_images"]) == {12}
    assert table.null_count().sum_horizontal().item() == 0
    wide = table.pivot("predictor", index=["model", "estimate", "class_index"], values="value")
    assert (wide["local_lipschitz_distance"] <= wide["first_order_distance"] + 1e-12).all()


def test_values_are_means_over_the_images_that_geometry_is_measured_on(finished):
    store, study = Store(finished), tiny.study(attack_free=ASKED)
    context = tiny.context_of(study, store)
    images = context.images("geometry", 4)
    estimates = lipschitz_estimates(
        context.network("adversarial"), images, radius=0.1, samples=3, seed=derive(0, "attack_free")
    )
    rows = pl.read_parquet(finished / "tables" / "attack_free.parquet").filter(
        model="adversarial", estimate="linf", class_index=4
    )
    for row in rows.iter_rows(named=True):
        values = getattr(estimates, row["predictor"])
        assert row["value"] == pytest.approx(float(values.mean()), rel=1e-4)  # batches of other sizes
        assert row["standard_error"] == pytest.approx(float(values.std()) / 12**0.5, rel=1e-4)
        assert row["n_correct"] == int((estimates.margin > 0).sum())


def test_each_setting_changes_keys_and_the_name_does_not(tmp_path):
    store = Store(tmp_path / "plan")
    store.prepare()

    def keys(**settings):
        units = tiny.planned(tiny.study(attack_free=[{"radius": 0.1, **settings}]), store)
        return {unit.key for unit in tiny.of_kind(units, "attack_free")}

    known = keys()
    assert len(known) == 2 * 3
    assert keys(name="other") == keys(samples=64) == keys(norm="linf") == known
    for change in ({"norm": "l2"}, {"radius": 0.2}, {"samples": 8}):
        assert not keys(**change) & known, change


def test_a_network_without_gradients_fails_in_one_sentence(tmp_path):
    (tmp_path / "blind.py").write_text(BLIND)
    study = tiny.study(
        models=[{"source": f"python:{tmp_path / 'blind.py'}:blind", "at_chance": "measure"}],
        data={**tiny.raw()["data"], "classes": [0, 1, 2]},
        measures=[],
        attacks=[],
        attack_free=ASKED[:1],
    )
    store = Store(tmp_path / "run")
    outcome = run_units(study, store, progress=Progress(quiet=True))
    assert len(outcome.failed) == 3
    assert all("gives logits without a gradient" in str(reason) for reason in outcome.failed.values())
    assert collect(store, store.plan()[0])["attack_free"].is_empty()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([{}], "attack_free.0.radius"),
        ([{"radius": 8.0}], "did you mean 8/255"),
        ([{"radius": 0.0}], "radius = 0; expected a radius above 0"),
        ([{"radius": 0.1, "samples": 0}], "samples = 0: input should be greater than or equal to 1"),
        ([{"radius": 0.1}, {"radius": 0.2}], "two parts of the study in the column 'estimate' are called 'linf'"),
        ([{"radius": 0.1, "norm": "l1"}], "attack_free.0.norm = 'l1'"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_sentence(asked, message):
    with pytest.raises(StudyError, match=re.escape(message)) as caught:
        parse(tiny.raw(attack_free=asked))
    assert "\n" not in str(caught.value)
