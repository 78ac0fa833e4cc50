"""Whether geometry predicts which classes are robust, of classes and of networks that were not seen.

An association describes the classes at hand; a diagnostic tool must say something of a class, or of a network, whose
robustness was not measured. Each class is predicted from the others, by least squares of few predictors that need no
attack, and each network from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from manifoldscope.evidence.at_chance import at_chance
from manifoldscope.evidence.class_by_class import telling_classes
from manifoldscope.evidence.measures import of_classes
from manifoldscope.evidence.numbers import FloatArray
from manifoldscope.evidence.permutation import SAME, Block, correlations, orders_of, unit
from manifoldscope.evidence.replicates import replicates
from manifoldscope.evidence.significance import SIGNIFICANT
from manifoldscope.evidence.two_draws import (
    FEWEST_CLASSES,
    Difficulty,
    Gate,
    difficulty_of,
    gates_of,
    log_odds,
    normal_scores,
)

FEWEST_NETWORKS = 3
"""With fewer networks than this none is predicted from the others."""

LARGEST_GAP = 0.1
"""A measure that lacks more than this share of the classes is left out; else the classes that it lacks are."""

Predictors = Literal["difficulty", "margin", "measure", "margin_and_measure"]


@dataclass(frozen=True)
class Score:
    """How well some predictors say what was left out.

    Attributes:
        predictors: "difficulty": the log-odds of being correct when clean; "margin": its mean, the square of it and the
            logarithm of its standard deviation; "measure": of geometry, or the attack-free predictor;
            "margin_and_measure": all four.
        r: correlation of the predictions with what was left out; NaN where either does not vary.
        error: mean squared error over that of the mean of the others; below 1 is better than nothing.
    """

    predictors: Predictors
    r: float
    error: float


@dataclass(frozen=True)
class ClassesPredicted:
    """Each class of a network predicted from its others, with one measure at one layer, or one attack-free predictor.

    Attributes:
        layer, measure: of an attack-free predictor no layer (""), and its name.
        attack, strength: under which the classes differ most; what is predicted is the log-odds of being robust.
        n: classes.
        scores: of the four sets of predictors.
        gain: by which share the measure lowers the squared error of predictions, once difficulty is taken out of the
            measure and of the log-odds; negative where it predicts worse than nothing.
        p_value: of the gain; `p_adjusted` among all measures and layers of the network, or all its attack-free
            predictors.
        gates: why difficulty cannot be taken out with these data; empty where it can.
    """

    model: str
    layer: str
    measure: str
    parameters: str
    attack: str
    strength: float
    n: int
    scores: tuple[Score, ...]
    gain: float
    p_value: float
    p_adjusted: float
    gates: tuple[Gate, ...]

    @property
    def adds(self) -> bool:
        """Whether the measure says more of robustness than difficulty does, by a test that these data allow."""
        return not self.gates and self.p_adjusted < SIGNIFICANT

    def score(self, predictors: Predictors) -> Score:
        """That of some predictors."""
        return next(each for each in self.scores if each.predictors == predictors)


@dataclass(frozen=True)
class NetworkPredicted:
    """The classes of a network predicted from those of the others, with one measure at one layer.

    Attributes:
        network: that was left out, with all its replicates.
        n: its classes, over all replicates; `n_others` those of the other networks.
        scores: of the four sets of predictors; the error is over that of the mean of the network itself.
    """

    network: str
    layer: str
    measure: str
    parameters: str
    n: int
    n_others: int
    scores: tuple[Score, ...]

    def score(self, predictors: Predictors) -> Score:
        """That of some predictors."""
        return next(each for each in self.scores if each.predictors == predictors)


@dataclass(frozen=True)
class Prediction:
    """What predicts which classes are robust; networks at chance level are left out.

    Attributes:
        classes, networks: by measures of geometry.
        attack_free: the same classes by estimates from gradients (table `attack_free`), which geometry must compare
            with; empty where the study asked for none.
    """

    classes: tuple[ClassesPredicted, ...]
    networks: tuple[NetworkPredicted, ...]
    attack_free: tuple[ClassesPredicted, ...] = ()


@dataclass(frozen=True)
class Gained:
    """How much each of several measures adds, over the same classes.

    Attributes:
        gains, p_values, p_adjusted: (n,).
    """

    gains: FloatArray
    p_values: FloatArray
    p_adjusted: FloatArray


def prediction(tables: Mapping[str, pl.DataFrame], *, permutations: int = 499, seed: int = 0) -> Prediction | None:
    """Whether geometry predicts which classes are robust, beyond how hard they are; None where nothing can be asked.

    *One class left out.* Difficulty and margins are those of the images whose geometry is measured, the log-odds of
    being robust those of the images that are attacked. Measures are brought to normal scores. The correlation of
    predictions with what was left out is negative where predictors say nothing, as each prediction leans away from the
    class that it lacks: for one predictor of pure noise r is on average -0.26 to -0.36, for four about -0.1. So 0 is no
    null, and a p-value is needed.

    *What a measure adds.* Margins of few images measure difficulty with noise, and a measure that follows difficulty
    helps to predict even if it says nothing else. So difficulty is taken out of both as in the primary test, the one
    draw instrumenting the other (`Block`), and the measure predicts what is left of the log-odds. The p-value permutes
    the classes of what is left of the measure, takes the controls out anew, and compares the gain over its
    standard error (`gain_test`). Where both draws are the same images this is least squares, and a gate says so.

    *Attack-free predictors.* Estimates from gradients on the images whose geometry is measured stand beside the
    measures, over the same classes and by the same test, with p adjusted among themselves: they change no p of a
    measure, unless a class has no finite value.

    *One network left out.* Measures, difficulty and log-odds are centred and scaled within each network, and the
    classes of a network are predicted from those of the others; there is no p-value.

    Args:
        tables: by name, as in `manifoldscope.tables`: geometry, robustness, margins and models; and attack_free, where
            it is there.
        permutations: of the classes.
    """
    left_out = at_chance(tables["models"])
    measured = of_classes(tables["geometry"]).filter(pl.col("value").is_finite())
    attacked = telling_classes(tables["robustness"]).filter(
        pl.col("n_clean_correct") > 0,
        pl.col("n_robust") <= pl.col("n_clean_correct"),
        ~pl.col("model").is_in(list(left_out)),
    )
    attack_free = _attack_free(tables.get("attack_free"))
    studied = []
    for (model,), rows in attacked.group_by("model", maintain_order=True):
        mine, others = (each.filter(pl.col("model") == model) for each in (measured, attack_free))
        found = _Studied.of(str(model), mine, others, rows, tables["margins"])
        if found is not None:
            studied.append(found)
    if not studied:
        return None
    return Prediction(
        classes=tuple(each for one in studied for each in _classes(one, one.measures, permutations, seed)),
        networks=tuple(_networks(studied, replicates(tables["models"]))),
        attack_free=tuple(each for one in studied for each in _classes(one, one.attack_free, permutations, seed)),
    )


def left_out_predictions(predictors: FloatArray, y: FloatArray) -> FloatArray:
    """Predictions (..., K) of each y (K,) from the others, by least squares on predictors (..., p, K) and an intercept.

    By the hat matrix H: y_k - (y_k - fitted_k) / (1 - H_kk) (Allen 1974, PRESS).

    Example:
        >>> left_out_predictions(np.zeros((0, 3)), np.array([1.0, 2.0, 6.0])).round(6).tolist()
        [4.0, 3.5, 1.5]
    """
    k = y.shape[-1]
    centred = unit(predictors)
    basis, sizes, _ = np.linalg.svd(np.swapaxes(centred, -1, -2), full_matrices=False)
    basis = basis * (sizes > 1e-10)[..., None, :]
    leverage = 1 / k + (basis**2).sum(axis=-1)
    fitted = y.mean() + np.einsum("...kp,...p->...k", basis, np.einsum("...kp,k->...p", basis, y - y.mean()))
    found: FloatArray = y - (y - fitted) / np.maximum(1 - leverage, 1e-12)
    return found


def gain_test(block: Block, permutations: int, seed: int) -> Gained:
    """How much each x of a block helps to predict its one y, of classes left out, once controls are taken out of both.

    The gain is 1 - sum(e^2) / sum(e_0^2) over the errors of predictions from what is left of x, and from nothing. Its
    p-value is that of sum(e_0^2 - e^2) / sqrt(sum((e_0^2 - e^2)^2)), which takes as many classes to be large: (b + 1) /
    (B + 1), where b of B permutations of what is left of x, with the controls taken out anew, give at least as much.
    `p_adjusted` compares with the largest of all x.

    Args:
        block: with x (n, K), and y (1, K).
        permutations: of the classes, at least 1.
    """
    y = block.left_of_y[0]
    gains, observed = _gains(block.left_of_x, y)
    as_large, larger = np.zeros(len(observed)), np.zeros(len(observed))
    # statistics of either sign: equal ones differ by rounding
    least = observed - SAME * np.maximum(1, np.abs(observed))
    for orders in orders_of(block.n, permutations, seed, block.x.size):
        x = block.permuted(orders)
        _, statistic = _gains(x, y)
        as_large += (statistic >= least[:, None]).sum(axis=1)
        larger += (statistic.max(axis=0) >= least[:, None]).sum(axis=1)
    return Gained(gains, (as_large + 1) / (permutations + 1), (larger + 1) / (permutations + 1))


def _gains(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of centred x (..., K), for centred y (K,): the gain, and over its standard error (...)."""
    k = len(y)
    squares = np.maximum((x * x).sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    error = y - (x @ y)[..., None] / squares * x
    error = error / np.maximum(1 - 1 / k - x * x / squares, 1e-12)
    nothing = y * k / (k - 1)
    better = nothing**2 - error**2
    scale = np.maximum(np.sqrt((better**2).sum(axis=-1)), np.finfo(np.float64).tiny)
    total = better.sum(axis=-1)
    return total / max(float(nothing @ nothing), np.finfo(np.float64).tiny), total / scale


def _attack_free(table: pl.DataFrame | None) -> pl.DataFrame:
    """The table `attack_free` in the columns of `geometry`, each predictor of a class once; empty where it is missing.

    Estimates of other radii may share a predictor that does not depend on the radius.
    """
    columns = ("model", "layer", "measure", "parameters", "class_index", "value")
    if table is None:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))
    return (
        table.filter(pl.col("value").is_finite())
        .select(*columns[:1], pl.lit("").alias("layer"), pl.col("predictor").alias("measure"), *columns[3:])
        .unique(columns[:-1], keep="first", maintain_order=True)
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """n variables of K classes.

    Attributes:
        told: layer, measure and parameters of each.
        x: (n, K) as normal scores.
    """

    told: tuple[tuple[str, str, str], ...]
    x: FloatArray


@dataclass(frozen=True, eq=False)
class _Studied:
    """What is known of the classes of one network.

    Attributes:
        measures, attack_free: of geometry, and the attack-free predictors.
        y: (K,) log-odds of being robust.
        first, second: difficulty on the images that are measured and attacked; the same where there is one draw.
    """

    model: str
    attack: str
    strength: float
    measures: _Rows
    attack_free: _Rows
    y: FloatArray
    first: Difficulty
    second: Difficulty
    gates: tuple[Gate, ...]

    @classmethod
    def of(
        cls,
        model: str,
        measured: pl.DataFrame,
        attack_free: pl.DataFrame,
        attacked: pl.DataFrame,
        margins: pl.DataFrame,
    ) -> _Studied | None:
        """None where there are fewer than 20 classes, no margins or no measure, or all are equally robust."""
        attacked = attacked.sort("class_index")
        draws = difficulty_of(margins, model, attacked["class_index"].to_list())
        if draws is None or draws[1] is None:
            return None
        first, second = draws[0] or draws[1], draws[1]
        known = first.known & second.known
        if not known.any():
            return None
        given = [_known_values(rows, attacked["class_index"].to_list(), known) for rows in (measured, attack_free)]
        for values in given:
            known &= np.isfinite(np.stack(list(values.values()))).all(axis=0) if values else True
        if known.sum() < FEWEST_CLASSES:
            return None
        measures, beside = (_varying(values, known) for values in given)
        if not measures.told:
            return None
        robust, asked = (attacked[name].cast(pl.Float64).to_numpy()[known] for name in ("n_robust", "n_clean_correct"))
        if np.ptp(robust / asked) == 0:
            return None
        a, c = first.subset(known), second.subset(known)
        gates = gates_of(a, c, "margin")
        return cls(
            model,
            str(attacked["attack"][0]),
            float(attacked["strength"][0]),
            measures,
            beside,
            log_odds(robust, asked),
            a,
            c,
            gates if draws[0] is not None else tuple(dict.fromkeys((*gates, "same_images"))),
        )

    def predictors(self, measure: FloatArray) -> dict[Predictors, FloatArray]:
        """(p, K) each set, with one measure (K,); difficulty and margins are of the images that are measured."""
        margin, measure = self.first.controls("margin"), measure[None]
        return {
            "difficulty": self.first.of("clean_accuracy")[None],
            "margin": margin,
            "measure": measure,
            "margin_and_measure": np.concatenate([margin, measure]),
        }


def _known_values(
    table: pl.DataFrame, classes: Sequence[int], known: npt.NDArray[np.bool_]
) -> dict[tuple[str, str, str], FloatArray]:
    """(K,) values by layer, measure and parameters, of those that lack few of the known classes; NaN where they do."""
    place = {label: at for at, label in enumerate(classes)}
    found: dict[tuple[str, str, str], FloatArray] = {}
    for key, group in table.group_by("layer", "measure", "parameters", maintain_order=True):
        values = np.full(len(place), np.nan)
        group = group.filter(pl.col("class_index").is_in(list(place)))
        values[[place[label] for label in group["class_index"]]] = group["value"].to_numpy()
        if np.isfinite(values[known]).mean() >= 1 - LARGEST_GAP:
            found[str(key[0]), str(key[1]), str(key[2] or "")] = values
    return found


def _varying(values: Mapping[tuple[str, str, str], FloatArray], known: npt.NDArray[np.bool_]) -> _Rows:
    """Those that are not the same for all known classes."""
    kept = {told: each[known] for told, each in values.items() if np.ptp(each[known]) > 0}
    x = normal_scores(np.stack(list(kept.values()))) if kept else np.zeros((0, int(known.sum())))
    return _Rows(tuple(kept), x)


def _classes(studied: _Studied, rows: _Rows, permutations: int, seed: int) -> Iterator[ClassesPredicted]:
    """Each class predicted from the others, measure by measure."""
    if not rows.told:
        return
    own, other = (draw.controls("margin") for draw in (studied.first, studied.second))
    gained = gain_test(Block.of(rows.x, studied.y[None], own, other), permutations, seed)
    nothing = float(np.sum((left_out_predictions(np.zeros((0, len(studied.y))), studied.y) - studied.y) ** 2))
    for row, (layer, measure, parameters) in enumerate(rows.told):
        scores = [
            _score(name, left_out_predictions(values, studied.y), studied.y, nothing)
            for name, values in studied.predictors(rows.x[row]).items()
        ]
        yield ClassesPredicted(
            studied.model,
            layer,
            measure,
            parameters,
            studied.attack,
            studied.strength,
            len(studied.y),
            tuple(scores),
            float(gained.gains[row]),
            float(gained.p_values[row]),
            float(gained.p_adjusted[row]),
            studied.gates,
        )


def _networks(studied: Sequence[_Studied], names: Mapping[str, str]) -> Iterator[NetworkPredicted]:
    """Each network predicted from the others, for every measure that at least three networks have."""
    for told in dict.fromkeys(told for each in studied for told in each.measures.told):
        having = [(each, each.measures) for each in studied if told in each.measures.told]
        have = [(names.get(each.model, each.model), each, rows.x[rows.told.index(told)]) for each, rows in having]
        networks = list(dict.fromkeys(name for name, _, _ in have))
        if len(networks) < FEWEST_NETWORKS:
            continue
        for network in networks:
            inside, outside = ([part for part in have if (part[0] == network) is same] for same in (True, False))
            y, others = (np.concatenate([_z(each.y[None])[0] for _, each, _ in some]) for some in (inside, outside))
            scores = []
            for name in inside[0][1].predictors(inside[0][2]):
                own, given = (
                    np.concatenate([_z(each.predictors(x)[name]) for _, each, x in some], axis=1)
                    for some in (inside, outside)
                )
                slopes = np.linalg.pinv(given.T) @ others
                scores.append(_score(name, slopes @ own, y, float(y @ y)))
            yield NetworkPredicted(network, *told, len(y), len(others), tuple(scores))


def _score(name: Predictors, predicted: FloatArray, y: FloatArray, nothing: float) -> Score:
    r = float(correlations(unit(predicted[None]), unit(y[None]))[0, 0])
    return Score(name, r, float(np.sum((predicted - y) ** 2)) / nothing if nothing else np.nan)


def _z(rows: FloatArray) -> FloatArray:
    """(..., K) centred, with a standard deviation of 1; 0 where all are the same."""
    found: FloatArray = unit(rows) * np.sqrt(rows.shape[-1])
    return found
