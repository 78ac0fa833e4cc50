"""The accuracies that were published of a network, as a study file says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationInfo, field_validator, model_validator

from manifoldscope.attacks.ball import check_radius
from manifoldscope.errors import AttackError
from manifoldscope.study.section import Section, setting
from manifoldscope.vision.sources.published import published

if TYPE_CHECKING:
    from manifoldscope.study.plan import ModelPlan
    from manifoldscope.study.planning import Planning


class ExpectedPlan(Section):
    """Published accuracies of a network, as shares; a run says whether it reproduces them."""

    clean: float | None = setting(None, "published accuracy on clean images, between 0 and 1", keyed=False)
    autoattack: float | None = setting(None, "published accuracy under AutoAttack, between 0 and 1", keyed=False)
    epsilon: float | None = setting(
        None, "radius at which AutoAttack was run, in pixel units; that of the study if omitted", keyed=False, gt=0
    )
    norm: Literal["linf", "l2"] = setting("linf", "norm of the ball in which AutoAttack was run", keyed=False)

    @field_validator("clean", "autoattack")
    @classmethod
    def _share(cls, value: float | None) -> float | None:
        if value is None or 0 <= value <= 1:
            return value
        hint = f"; {value:g} percent is {value / 100:.4g}" if 1 < value <= 100 else ""
        raise ValueError(f"expected a share between 0 and 1{hint}")

    @model_validator(mode="after")
    def _any(self) -> ExpectedPlan:
        if self.clean is None and self.autoattack is None:
            raise ValueError("expected says neither clean nor autoattack; give at least one of them")
        if self.clean is not None and self.autoattack is not None and self.autoattack > self.clean:
            raise ValueError(
                f"autoattack = {self.autoattack:g} is above clean = {self.clean:g}, and an attack raises no accuracy; "
                "are the two exchanged?"
            )
        if self.epsilon is not None:
            try:
                check_radius(self.epsilon, self.norm)
            except AttackError as error:
                raise ValueError(str(error)) from None
        return self


def _told(value: Any, info: ValidationInfo) -> Any:
    """What a study file says, with the figures in place of the word "published"."""
    if value is not None and value != "published" and not isinstance(value, Mapping | ExpectedPlan):
        raise ValueError('expected a table, such as { clean = 0.9, autoattack = 0.5 }, or the word "published"')
    if value != "published":
        return value
    source = info.data.get("source", "")
    entry = published(source.removeprefix("robustbench:")) if source.startswith("robustbench:") else None
    if entry is None:
        raise ValueError(
            f"no accuracies of {source} are known here; write those of its paper: expected = {{ clean = 0.9, "
            "autoattack = 0.5, epsilon = 0.03137 }"
        )
    ball = {"epsilon": entry.epsilon, "norm": entry.norm.lower()}
    return {"clean": entry.clean, "autoattack": entry.robust, **ball}


Expectation = Annotated[
    ExpectedPlan | None,
    BeforeValidator(_told, json_schema_input_type=ExpectedPlan | Literal["published"] | None),
]
"""The type of `expected` in the table of a network; "published" stands for the figures of its source."""


def expected_of(planning: Planning, plan: ModelPlan) -> Mapping[str, Any] | None:
    """What is expected of a network of a study, as the fields of `Expected`; None where nothing is."""
    told = plan.expected
    if told is None:
        return None
    n_missing = len(planning.draws["robustness"].images.class_names) - len(planning.labels)
    return {**told.model_dump(), "n_missing": n_missing}
