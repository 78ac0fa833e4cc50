"""Study: the typed form of a study file. Defaults, `--set`, help, errors and the JSON schema all come from here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import (
    BeforeValidator,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from manifoldscope import plugins
from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS, Perturbation, registered
from manifoldscope.errors import ManifoldscopeError, ModelError, StudyError, shortened, unknown
from manifoldscope.files import read_bytes
from manifoldscope.geometry.estimate import MEASURES
from manifoldscope.geometry.extrapolation import FARTHEST
from manifoldscope.registry import Entry, describe
from manifoldscope.study.challenges import AttackPlan, strength_setting
from manifoldscope.study.section import KindSection, OpenSection, Section, entry_of, known_dataset, setting, settle
from manifoldscope.study.unit import kinds
from manifoldscope.training.objectives import OBJECTIVES, Objective
from manifoldscope.vision.datasets import source_schema
from manifoldscope.vision.layers import Layer
from manifoldscope.vision.sources import SOURCES

PRESETS = "manifoldscope.study.presets"

LARGEST_FILE = 2**20
"""Bytes of a study file, at most."""

DEEPEST = 16
"""How many tables and lists may lie within each other."""


RENAMED = {
    "threats": "[[attacks]] for attacks, [[corruptions]] for common corruptions",
    "smallest": "[[minimal]]",
    "foreign": "[[shifts]] for the same classes, [[ood]] for others",
    "sensitivity": "jacobian_norm",
}
"""Keys of the study file that were called otherwise."""

Asked = TypeVar("Asked", bound=KindSection)


def _layer_text(layer: Any) -> Any:
    """A layer from any of its forms, as tables and keys have it: "blocks.5 [class_token]"."""
    try:
        return str(Layer.of(layer))
    except ModelError as error:
        raise ValueError(str(error)) from None


LayerText = Annotated[str, BeforeValidator(_layer_text)]


class DrawPlan(Section):
    """One draw of images from each class."""

    split: str | None = setting(None, "part of the dataset; the dataset's last one by default", keyed=True)
    images_per_class: int | None = setting(None, "how many images of each class; all by default", keyed=True, ge=1)


class DataPlan(Section):
    """Where images come from, and which are drawn for what."""

    source: str = setting(..., "a dataset by name: see `manifoldscope list datasets`", keyed=True)
    root: str | None = setting(None, "folder or file of the dataset", keyed=False)
    classes: int | list[int | str] | None = setting(
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
    learning_rate: float = setting(2e-3, "peak of the one-cycle learning rate", keyed=True, gt=0)
    seeds: list[int] = setting([0], "one network is trained for each seed", keyed=True, min_length=1)

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
    layers: list[LayerText] | None = setting(
        None, "layers to measure, instead of the study's", keyed=True, min_length=1
    )
    training: TrainingPlan | None = setting(None, "train this network here", keyed=True)
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
            raise ValueError(f"model {self.name!r} has both weights and [training]; expected one of them")
        if self.training is not None and "seed" not in SOURCES[scheme].settings.model_fields:
            raise ValueError(
                f"source = {self.source!r} cannot be trained here: {scheme}: takes no seed, by which its first weights "
                "would be drawn"
            )
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
        return self

    @property
    def joint(self) -> bool:
        """Whether it needs all classes of a layer at once."""
        return bool(MEASURES[self.name].traits["reads"] == "clouds")


class SamplingPlan(Section):
    """What that many images can show: how sure a value is, what chance gives, and whether it grows with more images."""

    halvings: int = setting(
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


class AssociationPlan(Section):
    """How measures and accuracies are related across classes, and across networks where there are enough."""

    methods: list[Literal["pearson", "spearman", "partial"]] = setting(
        ["pearson", "spearman", "partial"], "partial holds clean accuracy fixed", keyed=False, min_length=1
    )
    bootstrap: int = setting(2000, "resamples of the classes for an interval", keyed=False, ge=100, le=1_000_000)
    permutations: int = setting(10000, "permutations for a p-value", keyed=False, ge=100, le=1_000_000)


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
    layers: list[LayerText] = setting(
        ["penultimate"],
        "layers to measure, each a name, or { name, pool } to say how its positions become points: flatten, mean, max, "
        "class_token, patch_tokens_mean, positions, or the index of one",
        keyed=True,
        min_length=1,
    )
    measures: list[MeasurePlan] = setting(
        [MeasurePlan(name="pca_dimension"), MeasurePlan(name="participation_ratio")],
        "what is measured of each class manifold; [] for attacks alone",
        keyed=True,
    )
    sampling: SamplingPlan = setting(SamplingPlan(), "what that many images can show", keyed=True)
    jacobian_norm: int = setting(
        0,
        "random projections for the norm of each layer's Jacobian, averaged over the images of a class; 0: none",
        keyed=True,
        ge=0,
    )
    attacks: list[AttackPlan] = setting(
        [], "attacks on the images, with the random controls; none for geometry alone", keyed=True
    )
    corruptions: list[AttackPlan] = setting([], "common corruptions of the images", keyed=True)
    gradients: Literal["auto", "float32", "plain"] = setting(
        "auto",
        "whose gradients attacks take: those of a faster copy of the network, with bfloat16 to propose where that is "
        "faster; of that copy in float32 alone; or the network's own",
        keyed=True,
    )
    checks: Literal["cheap", "full"] = setting(
        "cheap",
        "whether an evaluation checks itself by what it found, or by stronger attacks on a sample of the images too",
        keyed=True,
    )
    associations: AssociationPlan = setting(AssociationPlan(), "how the two are related", keyed=False)

    @field_validator("attacks", "corruptions")
    @classmethod
    def _in_its_section(cls, plans: list[AttackPlan], info: ValidationInfo) -> list[AttackPlan]:
        for plan in plans:
            section = f"{registered(plan.kind).kind}s"
            if section != info.field_name:
                raise ValueError(f"{plan.kind!r} is one of the {section}; write it under [[{section}]]")
        return plans

    @model_validator(mode="after")
    def _unique(self) -> Study:
        names = [("models", [name for name, _, _ in models_of(self)])]
        names += [(f"parts of the study in the column {column!r}", found) for column, found in self._named().items()]
        for what, listed in names:
            if twice := sorted({name for name in listed if listed.count(name) > 1}):
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


def preset_names() -> list[str]:
    """The built-in studies."""
    return sorted(
        item.name.removesuffix(".toml") for item in resources.files(PRESETS).iterdir() if item.name.endswith(".toml")
    )


def preset_text(name: str) -> str:
    """A built-in study as it stands in its file, comments and all."""
    if name not in preset_names():
        raise StudyError(unknown("built-in study", name, preset_names()))
    return (resources.files(PRESETS) / f"{name}.toml").read_text(encoding="utf-8")


def load(study: str | Path, changes: Mapping[str, Any] | Iterable[str] = ()) -> Study:
    """A study from a built-in name or a TOML file, with changes by dotted key.

    Args:
        study: "digits", or a path that ends in .toml.
        changes: {"data.geometry.images_per_class": 50}, or ["models.0.weights=FILE"] as `--set` takes them.

    Raises:
        StudyError: no such study, not TOML, an unknown key, a wrong type or an impossible value; the sentence names
            the key, the value, what was expected and the nearest valid name.
    """
    path = Path(study)
    if path.suffix == ".toml" or _exists(path):
        try:
            text = read_bytes(path, at_most=LARGEST_FILE).decode("utf-8-sig")
        except OSError as error:
            raise StudyError(f"the study file {path} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise StudyError(f"the study file {path} is no UTF-8 text ({error.reason} at byte {error.start})") from None
    else:
        try:
            text = preset_text(str(study))
        except StudyError as error:
            raise StudyError(f"{error} (or give the path of a .toml file)") from None
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or brackets without end
        raise StudyError(f"{path} is not valid TOML: {shortened(str(error), 200)}") from None
    pairs = changes.items() if isinstance(changes, Mapping) else map(parse_change, changes)
    for key, value in pairs:
        _put(raw, key, value)
    return parse(raw)


def parse(raw: Mapping[str, Any], *, run_plugins: bool = True) -> Study:
    """A study from nested tables, as TOML gives them; its plug-ins are run first. Raises StudyError."""
    _require_bounded(raw)
    asked = raw.get("plugins", [])
    if run_plugins and isinstance(asked, list) and all(isinstance(name, str) for name in asked):
        plugins.load(asked)
    for old, new in RENAMED.items():
        if old in raw:
            raise StudyError(f"{old}: there is no setting {old!r} any more; write {new}")
    try:
        return study_model().model_validate(raw)
    except ValidationError as error:
        raise StudyError(describe(error, "", study_model())) from None


def parse_change(text: str) -> tuple[str, Any]:
    """`key=value` -> (key, value); the value is read as TOML, and as plain text where it is no TOML."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise StudyError(f"--set {text}: expected KEY=VALUE, for example data.geometry.images_per_class=50")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return key.strip(), value.strip()


def _exists(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: the name of a file or an argument may hold stray bytes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _require_bounded(raw: Any) -> None:
    """Refuse what no study file holds, and what would exhaust whoever walks through it.

    Raises:
        StudyError: tables within tables without end, or a number that is none of 64 bits.
    """
    level = [raw]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise StudyError(f"a number of {value.bit_length():,} bits stands in the study; expected 64 at most")
            if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
                raise StudyError(f"{shortened(value)!r} holds a null character or bytes that are no text; give another")
            if isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
        level = inner
        if not level:
            return
    raise StudyError(f"the study has tables or lists within each other more than {DEEPEST} deep; expected a few")


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    steps = key.split(".")
    at: Any = raw
    for depth, step in enumerate(steps):
        where = ".".join(steps[: depth + 1])
        last = depth == len(steps) - 1
        if isinstance(at, list):
            if not step.isdigit() or int(step) >= len(at):
                raise StudyError(f"--set {key}: {where} does not exist; expected a number from 0 to {len(at) - 1}")
            if last:
                at[int(step)] = value
            elif isinstance(at[int(step)], str):  # the short form of a measure
                at[int(step)] = {"name": at[int(step)]}
            at = at[int(step)]
        elif isinstance(at, dict):
            if last:
                at[step] = value
            else:
                at = at.setdefault(step, {})
        else:
            raise StudyError(f"--set {key}: {'.'.join(steps[:depth])} is a value and has no keys of its own")


def json_schema() -> dict[str, Any]:
    """A JSON schema of the study file, for editors: each open table lists the settings of every item it may name."""
    schema = study_model().model_json_schema()
    definitions = schema["$defs"]
    for section, key, registry in (
        ("TrainingPlan", "objective", OBJECTIVES),
        ("MeasurePlan", "name", MEASURES),
        ("AttackPlan", "kind", [*ATTACKS, *CORRUPTIONS]),
        ("ModelPlan", "source", SOURCES),
    ):
        definitions[section]["oneOf"] = [_alternative(entry, key, definitions) for entry in registry]
    for definition in definitions.values():
        if {"source", "root"} <= definition.get("properties", {}).keys():
            definition["properties"]["source"] |= source_schema()
    measures = schema["properties"]["measures"]
    measures["items"] = {"anyOf": [{"enum": MEASURES.names()}, measures["items"]]}
    return schema


def _alternative(entry: Entry, key: str, definitions: dict[str, Any]) -> dict[str, Any]:
    own = entry.settings.model_json_schema()
    definitions.update(own.pop("$defs", {}))
    properties = own.get("properties", {})
    if key == "kind":
        singular = strength_setting(entry)
        properties[AttackPlan.strengths_key(entry)] = {"type": "array", "items": properties.pop(singular)}
    name = {"pattern": f"^{entry.name}:"} if key == "source" else {"const": entry.name}
    return {"title": entry.summary, "properties": {key: name, **properties}}


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
