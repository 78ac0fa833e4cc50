"""Attacks by name: what one is called that was run in several ways, which have iterates, and which iterate counts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from manifoldscope.errors import StudyError

_DETAILS = {"norm": pl.col("norm"), "n_steps": pl.format("{} steps", "n_steps")}
"""The columns that tell runs of one attack apart, and how each is named."""


def with_attack_name(table: pl.DataFrame) -> pl.DataFrame:
    """The table with a column `attack_name`: the attack, and what tells its runs apart where it was run in several
    ways.

    Norms and numbers of steps are named where there are several in the table. Where that leaves several `parameters`
    at one strength, they are named in full. Parameters that follow from the strength, as a step size does, make no
    other attack.

    Args:
        table: attack, parameters and strength; norm and n_steps where it has them.

    Example:
        >>> runs = pl.DataFrame({"attack": ["pgd", "pgd", "fog"], "n_steps": [20, 40, None]})
        >>> with_attack_name(runs.with_columns(parameters=pl.lit(""), strength=pl.lit(0.1)))["attack_name"].to_list()
        ['pgd (20 steps)', 'pgd (40 steps)', 'fog']
    """
    several = [
        pl.when(pl.col(column).n_unique().over("attack") > 1).then(text)
        for column, text in _DETAILS.items()
        if column in table.columns
    ]
    told = pl.concat_str(several, separator=", ", ignore_nulls=True) if several else pl.lit("")
    parameters = pl.col("parameters").fill_null("")
    ambiguous = parameters.n_unique().over("attack", "_told", "strength") > 1
    named = pl.format("{} ({})", "attack", pl.when(ambiguous).then(parameters).otherwise("_told"))
    return (
        table.with_columns(_told=told)
        .with_columns(attack_name=pl.when(ambiguous | (pl.col("_told") != "")).then(named).otherwise("attack"))
        .drop("_told")
    )


def require_counts(robustness: pl.DataFrame) -> None:
    """Refuse a table of accuracies that are no shares, or of more robust images than there are correct ones.

    Raises:
        StudyError: there is such a row; what is null or NaN is none.
    """
    accuracy, robust, correct, shown = (
        pl.col(name).cast(pl.Float64) for name in ("robust_accuracy", "n_robust", "n_clean_correct", "n_images")
    )
    wrong = (accuracy.is_not_nan() & ~accuracy.is_between(0, 1)) | (robust < 0) | (robust > correct) | (correct > shown)
    found = robustness.filter(wrong | (robust > shown))
    if not found.is_empty():
        row = found.row(0, named=True)
        raise StudyError(
            f"table robustness: {row['n_robust']} robust of {row['n_clean_correct']} correct of {row['n_images']} "
            f"images, and robust_accuracy = {row['robust_accuracy']}, in class {row['class_index']} of "
            f"{row['model']}; expected counts that do not rise, and a share between 0 and 1"
        )


def attacks_in(robustness: pl.DataFrame) -> list[str]:
    """The attacks that have iterates: they search for a failure, where a control such as noise only draws once."""
    return sorted(set(robustness.filter(pl.col("iterate") == "any")["attack"]))


def of_attacks(rows: pl.DataFrame, attacks: Sequence[str]) -> pl.DataFrame:
    """The rows of these attacks; all of them where there are none of these."""
    return rows.filter(pl.col("attack").is_in(attacks)) if attacks else rows


def preferred_iterate(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each network and attack the rows of the last iterate, or of what there is where there is no last."""
    other = pl.col("iterate") != "last"
    return rows.filter(other == other.min().over("model", "attack"))
