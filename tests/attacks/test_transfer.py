"""Transfer: the diagonal is the attack itself, and only images that both know count."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from manifoldscope.attacks import PGD, evaluate, transfer
from manifoldscope.errors import AttackError
from manifoldscope.vision.network import logits
from manifoldscope.vision.preprocessing import Preprocessing
from tests.attacks.networks import convolutional, fitted, images


def networks(drawn):
    return [replace(fitted(drawn), name="knows all"), replace(fitted(drawn, steps=0), name="knows some")]


def test_the_diagonal_is_the_white_box_attack():
    drawn, attack = images(), PGD(epsilon=0.1, steps=3)
    pair = networks(drawn)
    table = transfer(pair, drawn, attack, seed=3)
    for network in pair:
        white = evaluate(network, drawn, attack, seed=3)
        (row,) = table.filter(source_model=network.name, target_model=network.name).iter_rows(named=True)
        assert row["n_images"] == len(drawn)
        assert row["n_clean_correct"] == round(white.clean_accuracy * len(drawn))
        assert row["n_clean_correct"] - row["n_misclassified"] == round(white.robust_accuracy * len(drawn))


def test_only_images_that_both_know_count_and_the_judge_alone_decides():
    drawn, attack = images(), PGD(epsilon=0.1, steps=3)
    maker, judge = networks(drawn)
    known = [(logits(network, drawn).argmax(1) == drawn.labels) for network in (maker, judge)]
    both = known[0] & known[1]
    assert 0 < int(both.sum()) < len(drawn)
    (row,) = transfer([maker, judge], drawn, attack).filter(source_model=maker.name, target_model=judge.name).to_dicts()
    made = evaluate(maker, drawn, attack, keep_images=True).adversarial[0]
    fell = judge(made).argmax(1) != drawn.labels
    assert (row["n_clean_correct"], row["n_misclassified"]) == (int(both.sum()), int((both & fell).sum()))


def test_an_attack_without_strength_fells_nobody():
    drawn = images()
    assert transfer(networks(drawn), drawn, PGD(epsilon=0, steps=1)).select(pl.col("n_misclassified").sum()).item() == 0


def test_networks_that_cannot_be_compared_are_refused():
    drawn = images()
    with pytest.raises(AttackError, match="expected a name of its own"):
        transfer([convolutional(), convolutional()], drawn, PGD(epsilon=0.1))
    with pytest.raises(AttackError, match="the networks are Sequential; expected a list of networks"):
        transfer(convolutional().module, drawn, PGD(epsilon=0.1))  # and not one of each of its layers
    with pytest.raises(AttackError, match="the attack is 'pgd'; expected one that was made"):
        transfer([convolutional()], drawn, "pgd")
    cropped = replace(convolutional(), name="cropped", preprocessing=Preprocessing(crop=4))
    with pytest.raises(AttackError, match="bring the images to other pixels"):
        transfer([convolutional(), cropped], drawn, PGD(epsilon=0.1, steps=1))
