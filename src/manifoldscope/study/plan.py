"""Study: the typed form of a study file. Defaults, `--set`, help, errors and the JSON schema all come from here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import (
    BeforeValidator,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from manifoldscope.attacks.perturbation import Perturbation, registered
from manifoldscope.errors import GeometryError, ManifoldscopeError, ModelError
from manifoldscope.geometry.extrapolation import FARTHEST
from manifoldscope.geometry.measures import MEASURES, refuse_settings
from manifoldscope.study.challenges import AttackPlan, CorruptionPlan
from manifoldscope.study.defences import DefencePlan, check_defence
from manifoldscope.study.expected import Expectation
from manifoldscope.study.section import (
    HowMany,
    KindSection,
    OpenSection,
    Section,
    WhichClasses,
    entry_of,
    known_dataset,
    setting,
    settle,
)
from manifoldscope.study.unit import kinds
from manifoldscope.training.augmentation import AugmentName
from manifoldscope.training.objectives import OBJECTIVES, Objective
from manifoldscope.training.optimisers import OptimiserName
from manifoldscope.vision.layers import Layer, listed
from manifoldscope.vision.sources import SOURCES

Asked = TypeVar("Asked", bound=KindSection)


def _layer_text(layer: Any) -> Any:
    """A layer from any of its forms, as tables and keys have it: "blocks.5 [class_token]"."""
    try:
        return str(Layer.of(layer))
    except ModelError as error:
        raise ValueError(str(error)) from None


LayerText = Annotated[str, BeforeValidator(_layer_text)]
LayerList = Annotated[list[LayerText], BeforeValidator(listed, json_schema_input_type=list[LayerText] | Literal["all"])]


class DrawPlan(Section):
    """One draw of images from each class."""

    split: str | None = setting(
        None,
        "part of the dataset; by default the one that it is usually evaluated on, and for training its first",
        keyed=True,
    )
    images_per_class: HowMany = setting(None, "how many images of each class; all by default", keyed=True, ge=1)


class DataPlan(Section):
    """Where images come from, and which are drawn for what."""

    source: str = setting(..., "a dataset by name: see `manifoldscope list datasets`", keyed=True)
    root: str | None = setting(None, "folder or file of the dataset", keyed=False)
    classes: WhichClasses = setting(
        None, "a number of classes to sample, or a list of indices and names; all by default", keyed=True
    )
    same_images: bool = setting(
        False, "measure geometry on the very images that are attacked, as the original study did", keyed=True
    )
    geometry: DrawPlan = setting(DrawPlan(), "images whose activations are measured", keyed=True)
    robustness: DrawPlan = setting(DrawPlan(), "images that are attacked", keyed=True)
    training: DrawPlan = setting(
        DrawPlan(), "images that networks are trained on; never one that is measured or attacked", keyed=True
    )

    @field_validator("source")
    @classmethod
    def _known(cls, source: str) -> str:
        return known_dataset(source)


class TrainingPlan(OpenSection):
    """How a network is trained; the objective's own settings (epsilon, steps, ...) stand beside these."""

    objective: str = setting(..., "an objective by name: see `manifoldscope list objectives`", keyed=True)
    epochs: int = setting(10, "passes over the training images", keyed=True, ge=1)
    batch_size: int = setting(128, "images a step", keyed=True, ge=1)
    learning_rate: float = setting(
        2e-3, "peak of the one-cycle learning rate; with sgd, 0.1 is usual", keyed=True, gt=0
    )
    optimiser: OptimiserName = setting("adam", "adam, or sgd with Nesterov momentum of 0.9", keyed=True)
    weight_decay: float = setting(0.0, "factor of the L2 penalty on all parameters", keyed=True, ge=0)
    augment: AugmentName = setting(
        "none",
        "random changes of the training images: shift_flip moves them by up to 4 pixels and mirrors half of them",
        keyed=True,
    )
    seeds: list[int] = setting([0], "one network is trained for each seed", keyed=True, min_length=1)
    n_classes: int | None = setting(
        None,
        "on how many of the classes it is trained, measured and attacked, the first by index; all if omitted",
        keyed=True,
        ge=2,
    )
    probe_every: int = setting(
        0,
        "after each that many epochs, and before the first, the network is measured and attacked; 0: only at the end",
        keyed=True,
        ge=0,
    )

    @model_validator(mode="after")
    def _check(self) -> TrainingPlan:
        if self.objective == "natural":
            raise ValueError("there is no objective 'natural' any more; write standard")
        settle(self, entry_of(OBJECTIVES, self.objective))
        try:
            self.made()
        except ManifoldscopeError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def recipe(self) -> str:
        """What it is trained for, in one line, but for seeds and the number of classes: "standard epochs=4"."""
        told = self.model_dump(exclude={"objective", "seeds", "n_classes", "probe_every"}, exclude_defaults=True)
        return " ".join([self.objective, *(f"{name}={value}" for name, value in told.items())])

    def made(self) -> Objective:
        """The objective with its settings."""
        objective: Objective = OBJECTIVES[self.objective].target(**self.settings)
        return objective


class ModelPlan(OpenSection):
    """One network (or one for each training seed); the source's own settings (mean, std, ...) stand beside these."""

    name: str = setting("", "what tables and figures call it; the network's own name by default", keyed=False)
    source: str = setting(
        ..., "scheme:name, for example torchvision:resnet50: see `manifoldscope list models`", keyed=True
    )
    layers: LayerList | None = setting(None, "layers to measure, instead of the study's", keyed=True, min_length=1)
    training: TrainingPlan | None = setting(None, "train this network here", keyed=True)
    defence: DefencePlan | None = setting(
        None, "what stands in front of it or around it: a name, or { name, ... } with settings", keyed=True
    )
    expected: Expectation = setting(
        None, 'published accuracies, which a run is held against; "published" for those of the source', keyed=False
    )
    at_chance: Literal["refuse", "measure"] = setting(
        "refuse", "whether loaded weights that classify no better than chance are refused, or measured", keyed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not raw.get("name") and isinstance(raw.get("source"), str):
            return {**raw, "name": raw["source"].rpartition(":")[2]}
        return raw

    @model_validator(mode="after")
    def _check(self) -> ModelPlan:
        scheme, colon, _ = self.source.partition(":")
        if not colon:
            raise ValueError(f"source = {self.source!r}; expected scheme:name, such as 'torchvision:{self.source}'")
        settle(self, entry_of(SOURCES, scheme))
        weights = self.settings.get("weights")
        if self.training is not None and weights is not None:
            raise ValueError(
                f"model {self.name!r} has both weights and [training]; expected one of them "
                "(on the command line, --set models.0.weights= leaves the first network's weights out)"
            )
        if self.training is not None and "seed" not in SOURCES[scheme].settings.model_fields:
            raise ValueError(
                f"source = {self.source!r} cannot be trained here: {scheme}: takes no seed, by which its first weights "
                "would be drawn"
            )
        check_defence(self.defence, None if self.training is None else self.training.objective, model=self.name)
        if self.training is None and weights is None and scheme != "python":
            raise ValueError(
                f"model {self.name!r} has no weights; give weights = 'DEFAULT' or a file"
                + ", or a table [models.training] (objective = 'random' for untrained weights)"
            )
        return self


class MeasurePlan(OpenSection):
    """One measure of each class manifold; the measure's own settings (fraction, ...) stand beside these."""

    name: str = setting(..., "a measure by name: see `manifoldscope list measures`", keyed=True)
    scaling: Literal["none", "standardise"] = setting(
        "none", "whether each feature is brought to unit variance within the class first", keyed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, raw: Any) -> Any:
        return {"name": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _check(self) -> MeasurePlan:
        settle(self, entry_of(MEASURES, self.name))
        try:
            refuse_settings(self.name, self.settings)
        except GeometryError as error:
            raise ValueError(f"the measure {self.name!r}: {error}") from None
        return self

    @property
    def joint(self) -> bool:
        """Whether it needs all classes of a layer at once."""
        return bool(MEASURES[self.name].traits["reads"] == "clouds")


class SamplingPlan(Section):
    """What that many images can show: how sure a value is, what chance gives, and whether it grows with more images."""

    split_halves: int = setting(
        5,
        "random halves of the points, for standard errors and for what decreases with fewer points",
        keyed=True,
        ge=1,
        le=10_000,
    )
    equal_sizes: bool = setting(
        False, "measure as many images of each class as the smallest class has, drawn anew at random", keyed=True
    )
    null: int = setting(
        0,
        "draws of what chance gives: Gaussian points for a measure of one class, shuffled labels for a joint one; "
        "0: none, and twenty cannot show a p-value below 0.095",
        keyed=True,
        ge=0,
        le=100_000,
    )
    curve: int = setting(
        0, "draws at each number of points, for curves over that number; 0: none", keyed=True, ge=0, le=100_000
    )
    reliability: int = setting(
        0, "random halves, for whether two samples agree on the classes; 0: none", keyed=True, ge=0, le=100_000
    )
    second_draw: bool = setting(
        True,
        "measure as many images of the attacked draw too, for how reliable a measure is from one draw to another",
        keyed=True,
    )
    extrapolate: float = setting(
        0.0,
        f"to how many times the number of points measures of one class are carried on, at most {FARTHEST}; 0: none",
        keyed=True,
        ge=0,
        le=FARTHEST,
    )

    @field_validator("extrapolate")
    @classmethod
    def _beyond(cls, factor: float) -> float:
        if 0 < factor <= 1:
            raise ValueError(f"expected more than 1 times the points, as 2.0, or 0 for none; got {factor:g}")
        return factor


class PointsPlan(Section):
    """Which points are kept to be looked at, clean and attacked, in axes that all classes share."""

    images_per_class: int = setting(
        20,
        "of how many images of each class, at most, points are kept for pictures of manifolds in three dimensions "
        "(half of those that are attacked, 2,000 images, 60 classes and 4 layers a network at most); 0: none",
        keyed=True,
        ge=0,
        le=2_000,
    )
    axes: int = setting(24, "how many principal axes of all these points together are kept", keyed=True, ge=3, le=24)


class AssociationPlan(Section):
    """How measures and accuracies are related across classes, and across networks where there are enough."""

    methods: list[Literal["pearson", "spearman", "two_draws"]] = setting(
        ["pearson", "spearman", "two_draws"],
        "two_draws holds fixed how hard the classes are when clean, measured on both draws of images",
        keyed=False,
        min_length=1,
    )
    permutations: int = setting(
        10000, "permutations of the classes, joint over all cells", keyed=False, ge=100, le=1_000_000
    )


class Study(Section):
    """A whole study: what is asked, of which networks and images, how it is measured and attacked."""

    name: str = setting("study", "what the report calls it", keyed=False)
    question: str = setting("", "what the study asks, for the report", keyed=False)
    plugins: list[str] = setting(
        [], "files (.py) and modules that register measures, attacks, figures, ... of your own", keyed=False
    )
    seed: int = setting(0, "the one seed from which every draw, start and training derives its own", keyed=True, ge=0)
    batch_size: int = setting(100, "images at a time; changes results by rounding only", keyed=True, ge=1)
    data: DataPlan
    models: list[ModelPlan] = setting(..., "the networks", keyed=True, min_length=1)
    layers: LayerList = setting(
        ["penultimate"],
        'layers to measure: "all", or a list of names and patterns such as "blocks.*", each a text, or { name, pool } '
        "to say how its positions become points: flatten, mean, max, class_token, patch_tokens_mean, positions, or the "
        "index of one",
        keyed=True,
        min_length=1,
    )
    measures: list[MeasurePlan] = setting(
        [MeasurePlan(name="pca_dimension"), MeasurePlan(name="participation_ratio")],
        "what is measured of each class manifold; [] for attacks alone",
        keyed=True,
    )
    sampling: SamplingPlan = setting(SamplingPlan(), "what that many images can show", keyed=True)
    points: PointsPlan = setting(PointsPlan(), "which points are kept to be looked at", keyed=True)
    jacobian_norm: int = setting(
        0,
        "random projections for the norm of each layer's Jacobian, averaged over the images of a class; 0: none",
        keyed=True,
        ge=0,
    )
    attacks: list[AttackPlan] = setting(
        [], "attacks on the images, with the random controls; none for geometry alone", keyed=True
    )
    corruptions: list[CorruptionPlan] = setting([], "common corruptions of the images", keyed=True)
    gradients: Literal["copy", "own"] = setting(
        "copy",
        "whose gradients attacks take: those of a faster copy of the network (batch norm folded, channels last), which "
        "confirms itself what is misclassified, or the network's own",
        keyed=True,
    )
    checks: Literal["cheap", "full"] = setting(
        "cheap",
        "whether an evaluation checks itself by what it found, or by stronger attacks on a sample of the images too",
        keyed=True,
    )
    check_images: int = setting(200, "images that full checks attack, at most", keyed=True, ge=1)
    associations: AssociationPlan = setting(AssociationPlan(), "how the two are related", keyed=False)

    @field_validator("attacks", "corruptions")
    @classmethod
    def _in_its_section(cls, plans: Sequence[AttackPlan], info: ValidationInfo) -> Sequence[AttackPlan]:
        for plan in plans:
            section = f"{registered(plan.kind).kind}s"
            if section != info.field_name:
                raise ValueError(f"{plan.kind!r} is one of the {section}; write it under [[{section}]]")
        return plans

    @model_validator(mode="after")
    def _one_draw(self) -> Study:
        """Where nothing is attacked, or nothing measured, one draw is for both: another would take all other images."""
        data, nothing = self.data, DrawPlan()
        if data.same_images or any(self.section(section) for section in sections()):
            return self
        if "robustness" not in self.asked_tables and data.robustness == nothing:
            data = data.model_copy(update={"same_images": True, "robustness": data.geometry})
        elif "geometry" not in self.asked_tables and data.geometry == nothing:
            data = data.model_copy(update={"same_images": True, "geometry": data.robustness})
        object.__setattr__(self, "data", data)
        return self

    @model_validator(mode="after")
    def _unique(self) -> Study:
        names = [("models", [name for name, _, _ in models_of(self)])]
        names += [(f"parts of the study in the column {column!r}", found) for column, found in self._named().items()]
        for what, given in names:
            if twice := sorted({name for name in given if given.count(name) > 1}):
                raise ValueError(f"two {what} are called {twice[0]!r}; give each a name (and each seed once)")
        for place, measure in enumerate(self.measures):
            if measure in self.measures[:place]:
                raise ValueError(f"the measure {measure.name!r} is listed twice with the same settings")
        same = self.data.geometry.images_per_class
        if self.data.same_images and self.data.geometry != self.data.robustness:
            raise ValueError(
                f"data.same_images = true, but data.geometry ({same} images per class) and data.robustness "
                f"({self.data.robustness.images_per_class}) differ; give them the same split and images_per_class"
            )
        for kind in kinds():
            kind.fits(self)
        return self

    def _named(self) -> dict[str, list[str]]:
        """The names of attacks, corruptions, searches, datasets, ..., by the column of tables in which they stand."""
        named = {"attack": [plan.name for plan in self.perturbations]}
        for section in sections():
            named.setdefault(section.column, []).extend(plan.name for plan in self.section(section))
        return named

    @property
    def asked_tables(self) -> set[str]:
        """Which of the tables that most studies have it asks for."""
        geometry = {"geometry"} if self.measures or self.jacobian_norm else set()
        robustness = {"robustness"} if self.perturbations else set()
        both = {"associations"} if geometry and robustness else set()
        return {"models", "checks"} | geometry | robustness | both

    def attack(self, name: str, strength: float) -> tuple[AttackPlan, Perturbation]:
        """What the study calls so, and the attack or corruption at one of its strengths."""
        plan = next(plan for plan in self.perturbations if plan.name == name)
        return plan, next(attack for attack in plan.perturbations() if attack.strength == strength)

    @property
    def perturbations(self) -> list[AttackPlan]:
        """All that is done to the images: attacks, then corruptions."""
        return [*self.attacks, *self.corruptions]

    @property
    def roots(self) -> list[str]:
        """The folders and files that its datasets lie in."""
        others = [getattr(plan, "root", None) for section in sections() for plan in self.section(section)]
        return [root for root in (self.data.root, *others) if root is not None]

    def section(self, section: type[Asked]) -> list[Asked]:
        """What the study asks of a kind of unit that has a section of its own."""
        return list(getattr(self, section.key, ()))

    def text(self) -> str:
        """The resolved study as TOML; loading it gives the same study."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def sections() -> tuple[type[KindSection], ...]:
    """The sections of the study file that kinds of units have for themselves."""
    return tuple(kind.section for kind in kinds() if kind.section is not None)


def study_model() -> type[Study]:
    """The study file's form, with the sections of every kind of unit that is known now."""
    return _study_model(sections())


@cache
def _study_model(known: tuple[type[KindSection], ...]) -> type[Study]:
    fields: dict[str, Any] = {
        section.key: (list[section], setting([], (section.__doc__ or "").split("\n")[0], keyed=True))  # type: ignore[valid-type]  # made here
        for section in known
    }
    return create_model("Study", __base__=Study, __doc__=Study.__doc__, **fields)


def models_of(study: Study) -> Sequence[tuple[str, ModelPlan, int | None]]:
    """Every network of the study: its name, its plan, and its training seed (None where it is not trained)."""
    networks: list[tuple[str, ModelPlan, int | None]] = []
    for plan in study.models:
        if plan.training is None:
            networks.append((plan.name, plan, None))
        else:
            several = len(plan.training.seeds) > 1
            networks += [(f"{plan.name}/{seed}" if several else plan.name, plan, seed) for seed in plan.training.seeds]
    return networks
