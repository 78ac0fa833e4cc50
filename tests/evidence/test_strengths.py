"""The strength at which accuracies differ most, of a network over its classes and of an attack over networks."""

from __future__ import annotations

import doctest

import polars as pl

from manifoldscope.evidence import compared_networks, strengths, telling_attack, telling_strengths


def test_the_example_runs():
    assert doctest.testmod(strengths).failed == 0


def test_the_largest_spread_is_taken_the_smallest_of_equals_and_0_only_where_there_is_no_other():
    rows = [
        ("a", 0.0, 0.1), ("a", 0.0, 0.9), ("a", 0.1, 0.4), ("a", 0.1, 0.6), ("a", 0.2, 0.2), ("a", 0.2, 0.6),
        ("b", 0.3, 0.5), ("b", 0.3, 0.7), ("b", 0.1, 0.1 + 0.2), ("b", 0.1, 0.5),  # 0.3 + 4e-17: equal up to rounding
        ("c", 0.0, 0.9),
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=["model", "strength", "robust_accuracy"], orient="row")
    assert telling_strengths(table).rows() == [("a", 0.2), ("b", 0.1), ("c", 0.0)]


def _accuracies(values):
    rows = [
        {"model": model, "attack_name": "pgd", "strength": strength, "robust_accuracy": accuracy + shift}
        for model, each in values.items()
        for strength, accuracy in zip((0.1, 0.2), each, strict=True)
        for shift in (-0.05, 0.05)
    ]
    return pl.DataFrame(rows)


def test_networks_are_means_over_classes_and_replicates_and_those_left_out_have_no_say():
    table = _accuracies({"n/0": (0.8, 0.3), "n/1": (0.6, 0.1), "other": (0.8, 0.6), "chance": (0.1, 0.1)})
    names = {"n/0": "n", "n/1": "n", "other": "other", "chance": "chance"}
    every = compared_networks(table, names)
    assert every.filter(network="n")["robust_accuracy"].round(9).to_list() == [0.7, 0.2]
    counted = compared_networks(table, names, left_out=["chance"])
    assert sorted(counted["network"].unique()) == ["n", "other"]
    assert telling_strengths(every, within=["attack_name"]).rows() == [("pgd", 0.1)]
    assert telling_strengths(counted, within=["attack_name"]).rows() == [("pgd", 0.2)]


def test_where_fewer_than_two_networks_would_remain_all_are_compared():
    table = _accuracies({"a": (0.8, 0.3), "b": (0.1, 0.1)})
    assert compared_networks(table, {"a": "a", "b": "b"}, left_out=["b"])["network"].n_unique() == 2


def test_a_network_counts_while_one_of_its_replicates_does():
    table = _accuracies({"n/0": (0.8, 0.3), "n/1": (0.1, 0.1), "b": (0.5, 0.5)})
    names = {"n/0": "n", "n/1": "n", "b": "b"}
    assert compared_networks(table, names, left_out=["n/1"])["network"].n_unique() == 2


def test_the_attack_of_the_most_strengths_is_taken_if_any_of_them_tells_classes_apart():
    def attack(*rows):
        return telling_attack(pl.DataFrame(rows, schema=["attack_name", "strength", "robust_accuracy"], orient="row"))

    long = [("pgd", strength, accuracy) for strength in (0.1, 0.2) for accuracy in (0.5, 0.6)]
    short = [("fgsm", 0.1, 0.0), ("fgsm", 0.1, 1.0)]
    assert attack(*long, *short) == "pgd"
    assert attack(*((name, strength, 0.0) for name, strength, _ in long), *short) == "fgsm"
    assert attack(*short, *(("apgd", strength, accuracy) for _, strength, accuracy in short)) == "apgd"
    assert attack(*short, ("apgd", 0.1, 0.0), ("apgd", 0.1, 0.5)) == "fgsm"
