"""What a study does to its images: attacks and corruptions at several strengths."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import model_validator

from manifoldscope.attacks.perturbation import ATTACKS, Iterates, Perturbation, make, registered
from manifoldscope.attacks.saved import Form
from manifoldscope.errors import ManifoldscopeError, StudyError
from manifoldscope.registry import Entry
from manifoldscope.study.section import OpenSection, refuse_strangers, setting


class AttackPlan(OpenSection):
    """One attack at several strengths; its own settings (steps, restarts, ...) stand beside these."""

    kind: str = setting(
        ..., "by name: see `manifoldscope list attacks` and `manifoldscope list corruptions`", keyed=True
    )
    name: str = setting("", "what tables and figures call it; its kind by default", keyed=False)
    iterate: Iterates = setting(
        "both", "report the last iterate and any iterate, or 'any' alone, which stops early and is cheaper", keyed=True
    )
    sweep: Literal["independent", "reuse"] = setting(
        "independent",
        "attack each image at every strength, or, with 'reuse', not at those above the one at which it was "
        "misclassified: cheaper, and a curve that decreases by construction",
        keyed=True,
    )
    displacement: bool = setting(
        False, "measure how far the attacked images' activations move, and in which directions", keyed=True
    )
    save: Literal["no"] | Form = setting(
        "no",
        "save the adversarial examples: as they are (float), or rounded to 8 bits and re-evaluated (uint8)",
        keyed=True,
    )

    transfer: bool = setting(
        False, "evaluate the adversarial examples of each source model on every other network of the study", keyed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and "keep" in raw:
            raise ValueError("there is no setting 'keep' any more; write save")
        if isinstance(raw, dict) and not raw.get("name") and isinstance(raw.get("kind"), str):
            return {**raw, "name": raw["kind"]}
        return raw

    @model_validator(mode="after")
    def _check(self) -> AttackPlan:
        try:
            entry = registered(self.kind)
        except StudyError as error:
            raise ValueError(str(error)) from None
        what = f"{entry.kind} {self.name!r}"
        plural, own = self.strengths_key(entry), self.own()
        singular = strength_setting(entry)
        refuse_strangers(self, own, {plural, *entry.settings.model_fields})
        if plural != singular and plural in own and singular in own:
            raise ValueError(f"{what} has {plural} and {singular}; give the strengths in {plural} alone")
        values = own.pop(plural, own.pop(singular, None))
        if values is None:
            raise ValueError(f"{what} has no {plural}; give a list of strengths")
        values = values if isinstance(values, list) else [values]
        if not values:
            raise ValueError(f"{plural} of {what} is empty; give at least one strength")
        strengths = []
        for value in values:
            try:
                checked = entry.validate({**own, singular: value})
                entry.target(**checked)  # it refuses what cannot be
            except ManifoldscopeError as error:
                raise ValueError(str(error)) from None
            strengths.append(checked[singular])
        if len(set(strengths)) < len(strengths):
            raise ValueError(f"{plural} of {what} = {strengths}; a strength is listed twice")
        if self.sweep == "reuse":
            self._refuse_reuse(cast("type[Perturbation]", entry.target))
        if self.displacement and self.iterate == "any":
            raise ValueError(
                f"{what} has displacement = true and iterate = 'any'; an image that stops at its first "
                "success has moved less than one that takes every step: expected iterate = 'both'"
            )
        if self.save != "no" and self.iterate == "any":
            raise ValueError(
                f"{what} has save = {self.save!r} and iterate = 'any'; images that leave at their first "
                "success have no last iterate to save: expected iterate = 'both'"
            )
        if self.transfer and self.iterate == "any":
            raise ValueError(
                f"{what} has transfer = true and iterate = 'any'; what other networks are evaluated on are "
                "last iterates: expected iterate = 'both'"
            )
        for name in [name for name, value in own.items() if value is None]:
            del own[name]  # as if it were not given
        own.update({k: v for k, v in checked.items() if k != singular and v is not None})
        own[plural] = strengths
        return self

    def _refuse_reuse(self, attack: type[Perturbation]) -> None:
        if self.iterate != "any":
            raise ValueError(
                f"{self.name!r} has sweep = 'reuse' and iterate = {self.iterate!r}; what is misclassified at one "
                "strength says nothing of the last iterate at another: give iterate = 'any', or sweep = 'independent'"
            )
        if not (attack.nested and attack.counts == "both"):
            kinds = {entry.name: cast("type[Perturbation]", entry.target) for entry in ATTACKS}
            able = [name for name, kind in kinds.items() if kind.nested and kind.counts == "both"]
            raise ValueError(
                f"{self.name!r} has sweep = 'reuse', but what {self.kind} may do at one strength it need not do at a "
                f"larger one: give sweep = 'independent', or an attack of kind {', '.join(able)}"
            )

    @staticmethod
    def strengths_key(entry: Entry) -> str:
        """The key for the list of strengths: "epsilons", "severities", "degrees", ..."""
        singular = strength_setting(entry)
        if singular.endswith("s"):
            return singular
        return f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"

    def perturbations(self) -> list[Perturbation]:
        """The attack or corruption at each strength."""
        entry = registered(self.kind)
        settings = self.settings
        strengths = settings.pop(self.strengths_key(entry))
        singular = strength_setting(entry)
        return [make(self.kind, {**settings, singular: strength}) for strength in strengths]


class CorruptionPlan(AttackPlan):
    """One corruption at several severities; its own settings stand beside these."""


def strength_setting(entry: Entry) -> str:
    """What a registered attack or corruption calls its strength: "epsilon", "severity", ..."""
    return cast("type[Perturbation]", entry.target).strength_setting
