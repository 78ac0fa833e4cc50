"""The study file: one typed definition, and errors that name the key, the value and what was expected."""

from __future__ import annotations

import copy
import json
import re
import tomllib

import pytest
from pydantic import BaseModel

from manifoldscope.attacks.perturbation import ATTACKS, CORRUPTIONS
from manifoldscope.errors import StudyError
from manifoldscope.registry import Entry
from manifoldscope.study import Store, loading, plan
from manifoldscope.study.challenges import AttackPlan, CorruptionPlan
from manifoldscope.study.draws import draw_images
from manifoldscope.study.kinds.check import checked as checked_attack
from manifoldscope.study.loading import load, parse, preset_names, preset_text
from manifoldscope.study.plan import Study, models_of
from manifoldscope.study.section import KindSection
from tests.study import tiny


def keys(study, store):
    return {unit.key for unit in tiny.planned(study, store)}


def minimal(**changes):
    raw = {
        "data": {"source": "digits"},
        "models": [{"source": "small:cnn", "training": {"objective": "random"}}],
        "attacks": [{"kind": "pgd", "epsilons": [0.1]}],
    }
    return {**raw, **changes}


@pytest.mark.parametrize("name", preset_names())
def test_a_built_in_study_is_valid_short_and_survives_a_round_trip(name):
    study = load(name)
    assert study.name == name
    assert study.question
    assert len(preset_text(name).splitlines()) <= 65
    assert parse(tomllib.loads(study.text())) == study


def test_a_setting_of_an_attack_that_is_none_is_as_if_it_were_not_given():
    raw = minimal()
    raw["attacks"][0]["relative_step_size"] = None
    assert parse(raw) == parse(minimal())
    assert parse(tomllib.loads(parse(raw).text())) == parse(raw)


def test_all_built_in_studies_are_there():
    assert preset_names() == [
        "cifar10",
        "cifar10-recipe",
        "digits",
        "fashion-mnist",
        "imagenet",
        "mnist",
        "mnist-recipes",
        "n-classes",
    ]


def test_short_forms_and_defaults():
    study = parse(minimal(measures=["participation_ratio"]))
    assert study.measures[0].name == "participation_ratio"
    assert study.models[0].name == "cnn"
    assert study.perturbations[0].name == "pgd"
    assert study.perturbations[0].settings["steps"] == 20
    assert parse(minimal()).measures[0].settings == {"fraction": 0.95}


def test_a_attack_has_one_instance_for_each_strength():
    study = parse(minimal(attacks=[{"kind": "pgd", "epsilons": [0, 0.1], "steps": 5, "relative_step_size": 0.5}]))
    weak, strong = study.perturbations[0].perturbations()
    assert (weak.epsilon, strong.epsilon, strong.resolved_step_size) == (0, 0.1, 0.05)
    assert weak.parameters == strong.parameters


def test_a_corruption_is_swept_by_its_severities():
    (plan,) = parse(minimal(corruptions=[{"kind": "fog", "severities": [1, 2, 5]}])).corruptions
    assert [attack.severity for attack in plan.perturbations()] == [1, 2, 5]
    with pytest.raises(StudyError, match="severity = 6; expected a whole number from 1"):
        parse(minimal(corruptions=[{"kind": "fog", "severities": [1, 6]}]))


def test_training_seeds_make_one_network_each():
    models = [{"source": "small:cnn", "name": "a", "training": {"objective": "standard", "seeds": [1, 2]}}]
    assert [(name, seed) for name, _, seed in models_of(parse(minimal(models=models)))] == [("a/1", 1), ("a/2", 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "data.geometry.image_per_class=5",
            "data.geometry.image_per_class: there is no setting 'image_per_class'; did you mean 'images_per_class'?",
        ),
        (
            "data.geometry.images_per_class=0",
            "data.geometry.images_per_class = 0: input should be greater than or equal to 1",
        ),
        ("data.source=digit", "data.source = 'digit': there is no dataset 'digit'; did you mean 'digits'?"),
        ("seed=soon", "seed = 'soon': input should be a valid integer"),
        ("data.classes=most", "data.classes = 'most': expected a number, a list of indices and names, or \"all\""),
        ("data.classes=1.5", "data.classes = 1.5: expected a number, a list"),
        ("data.geometry=12", "data.geometry = 12: expected a table, as { KEY = VALUE }"),
        ("layers=[]", "layers = []: expected at least one"),
        ("models={source = 'small:cnn'}", "models: expected a list of tables; write [[models]] for [models]"),
        ("data.classes=[]", 'data.classes: expected at least one class, or "all"'),
        (
            "data.geometry.images_per_class=most",
            "data.geometry.images_per_class = 'most': expected a number, or \"all\"",
        ),
        ("models.0.source=cnn", "expected scheme:name"),
        ("models.0.training.objective=standart", "there is no objective 'standart'; did you mean 'standard'"),
        ("models.0.training.epoch=3", "there is no setting 'epoch'; did you mean 'epochs'"),
        ("attacks.0.epsilon_s=[0.1]", "did you mean 'epsilons'"),
        ("models.1.training.lerning_rate=3", "lerning_rate"),
        ("attacks.0.epsilons=[8]", "did you mean 8/255"),
        ("attacks.0.steps=0", "steps = 0; expected at least 1"),
        ("attacks.0.epsilons=[0.1, 0.1]", "a strength is listed twice"),
        ("attacks.0.epsilons=[]", "give at least one strength"),
        ("attacks.0.epsilon=0.1", "has epsilons and epsilon; give the strengths in epsilons alone"),
        ("minimal.0.attack=pgd", "the study has no list minimal; add a [[minimal]] to the file"),
        ("attacks.0.kind=pdg", "there is no attack or corruption 'pdg'; did you mean 'pgd'"),
        ("measures.0.fraction=[]", "fraction"),
        ("measures.0.name=pca", "there is no measure 'pca'"),
        ("models.7.name=x", "models.7 does not exist; expected a number from 0 to 2"),
        ("seed.x=1", "seed is a value and has no keys of its own"),
        ("data.same_images=true", "differ; give them the same"),
        ("models.1.name=random", "two models are called 'random'"),
        ("attacks.1.name=pgd", "two parts of the study in the column 'attack' are called 'pgd'"),
        ("nonsense", "expected KEY=VALUE"),
        ("sampling.extrapolate=5", "sampling.extrapolate = 5: input should be less than or equal to 4"),
        ("sampling.extrapolate=0.5", "sampling.extrapolate = 0.5: expected more than 1 times the points"),
        ("sampling.null=-1", "sampling.null = -1: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_setting_is_one_sentence_that_helps(change, message):
    with pytest.raises(StudyError, match=re.escape(message)) as caught:
        load("digits", [change])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_network_needs_weights_or_training():
    with pytest.raises(StudyError, match="has no weights; give weights"):
        parse(minimal(models=[{"source": "torchvision:resnet18"}]))
    with pytest.raises(StudyError, match="both weights and"):
        parse(minimal(models=[{"source": "small:cnn", "weights": "x", "training": {"objective": "standard"}}]))


def test_a_missing_study_and_broken_toml_are_explained(tmp_path):
    with pytest.raises(StudyError, match="did you mean 'digits'"):
        load("digit")
    with pytest.raises(StudyError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(StudyError, match="is not valid TOML"):
        load(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match="is no UTF-8 text"):
        load(broken)


def test_changes_reach_any_key():
    changes = ["data.classes=[1, 2]", "models.0.name=untrained", "measures.0.fraction=0.9", "data.root=~/x y"]
    study = load("digits", [*changes, "attacks.0.epsilons=[0.1]"])
    assert study.data.classes == [1, 2]
    assert study.models[0].name == "untrained"
    assert study.measures[0].settings["fraction"] == 0.9
    assert study.perturbations[0].settings["epsilons"] == [0.1]
    assert study.data.root == "~/x y"


def test_nothing_leaves_a_key_or_an_entry_of_a_list_out():
    study = load(
        "imagenet", ["models.0.weights=", "models.0.training.objective=random", "attacks.0.steps=", "measures.1="]
    )
    assert study.models[0].settings.get("weights") is None
    assert study.perturbations[0].settings["steps"] == 20
    assert [measure.name for measure in study.measures] == ["pca_dimension"]
    assert load("digits", {"question": None}).question == ""
    with pytest.raises(StudyError, match=r"has both weights and \[training\].*--set models.0.weights= leaves"):
        load("imagenet", ["models.0.training.objective=random"])
    with pytest.raises(StudyError, match="there is no setting 'clases'; did you mean 'classes'"):
        load("imagenet", ["data.clases="])


def test_all_classes_and_all_images_can_be_said():
    said = ["data.classes=all", "data.geometry.images_per_class=all", "data.robustness.images_per_class=all"]
    assert load("imagenet", said) == load("imagenet", [change.replace("=all", "=") for change in said])
    assert load("imagenet", said).data.classes is None
    assert (
        parse(minimal(ood=[{"source": "digits", "classes": "all", "images_per_class": "all"}])).ood[0].classes is None
    )


def sections():
    here = [item for item in vars(plan).values() if isinstance(item, type) and issubclass(item, BaseModel)]
    without_own = {KindSection, CorruptionPlan}  # the second has the fields of AttackPlan
    return [item for item in here if item.model_fields and item not in without_own] + list(plan.sections())


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_field_says_what_it_is_for_and_whether_it_changes_results(section):
    for name, info in section.model_fields.items():
        nested = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        if nested and section is Study:
            continue  # a section of its own, whose fields say it
        assert info.description, f"{section.__name__}.{name} has no description"
        assert isinstance((info.json_schema_extra or {}).get("keyed"), bool), f"{section.__name__}.{name}: keyed?"


def test_the_json_schema_knows_every_registered_item():
    schema = loading.json_schema()
    for section, registry in (("AttackPlan", ATTACKS), ("CorruptionPlan", CORRUPTIONS)):
        kinds = [option["properties"]["kind"]["const"] for option in schema["$defs"][section]["oneOf"]]
        assert kinds == registry.names()
    text = json.dumps(schema)
    for name in ("pca_dimension", "pgd", "adversarial", "^torchvision:", "epsilons", "fashion-mnist"):
        assert json.dumps(name) in text


# One change of each field, and of each kind of registered setting, on the tiny study.
CHANGES = {
    "Study.name": {"name": "other"},
    "Study.question": {"question": "why?"},
    "Study.seed": {"seed": 1},
    "Study.batch_size": {"batch_size": 5},
    "Study.models": {"models": [{"source": "small:mlp", "training": {"objective": "random"}}]},
    "Study.layers": {"layers": ["penultimate"]},
    "Study.data": None,  # its fields are below
    "Study.measures": {"measures": ["pca_dimension"]},
    "Study.attacks": {"attacks": [{"kind": "noise", "epsilons": [0.1]}]},
    "Study.corruptions": {"corruptions": [{"kind": "brightness", "severities": [1]}]},
    "Study.sampling": None,  # its fields are below
    "Study.points": None,  # its fields are below
    "Study.jacobian_norm": {"jacobian_norm": 3},
    "Study.shifts": {"shifts": tiny.SHIFTS},
    "Study.ood": {"ood": tiny.OOD},
    "Study.plugins": None,  # see the tests of plug-ins
    "Study.checks": {"checks": "full"},
    "Study.check_images": {"checks": "full", "check_images": 7},
    "Study.gradients": {"gradients": "own"},
    "Study.associations": {"associations": {"permutations": 500}},
    "DrawPlan.images_per_class": {"data.geometry": {"images_per_class": 11}},
    "DrawPlan.split": None,  # the digits have one part only
    "DataPlan.source": None,  # another dataset would need its files
    "DataPlan.root": {"data.root": "elsewhere"},
    "DataPlan.classes": {"data.classes": [1, 4]},
    "DataPlan.same_images": {"data.same_images": True, "data.geometry": {"images_per_class": 10}},
    "DataPlan.geometry": {"data.geometry": {"images_per_class": 13}},
    "DataPlan.robustness": {"data.robustness": {"images_per_class": 9}},
    "DataPlan.training": {"data.training": {"images_per_class": 19}},
    "TrainingPlan.objective": {"models.1.training": {"objective": "standard"}},
    "TrainingPlan.epochs": {"models.1.training.epochs": 5},
    "TrainingPlan.batch_size": {"models.1.training.batch_size": 10},
    "TrainingPlan.learning_rate": {"models.1.training.learning_rate": 0.001},
    "TrainingPlan.seeds": {"models.1.training.seeds": [7]},
    "TrainingPlan.n_classes": {"models.1.training.n_classes": 2},
    "TrainingPlan.optimiser": {"models.1.training.optimiser": "sgd"},
    "TrainingPlan.weight_decay": {"models.1.training.weight_decay": 1e-4},
    "TrainingPlan.augment": {"models.1.training.augment": "shift_flip"},
    "TrainingPlan.probe_every": {"models.1.training.probe_every": 2},
    "Adversarial.epsilon": {"models.1.training.epsilon": 0.2},
    "ModelPlan.name": {"models.0.name": "other"},
    "ModelPlan.source": {"models.0.source": "small:mlp", "models.0.layers": ["penultimate"]},
    "ModelPlan.layers": {"models.0.layers": ["penultimate"]},
    "ModelPlan.training": {"models.0.training": {"objective": "standard"}},
    "ModelPlan.expected": {"models.0.expected": {"clean": 0.9}},
    "ModelPlan.at_chance": {"models.0.at_chance": "measure"},
    "ModelPlan.defence": {"models.0.defence": "gabor"},
    "DefencePlan.name": {"models.0.defence": {"name": "noise_vote"}},
    "DefencePlan.std": {"models.0.defence": {"name": "noise_vote", "std": 0.1}},
    "ModelPlan.mean": {"models.0.mean": [0.5]},
    "MeasurePlan.name": {"measures": ["participation_ratio"]},
    "MeasurePlan.scaling": {"measures": [{"name": "pca_dimension", "scaling": "standardise"}]},
    "MeasurePlan.unit": {"measures": ["pca_dimension", "participation_ratio", "centroid_distance"]},
    "MeasurePlan.fraction": {"measures": [{"name": "pca_dimension", "fraction": 0.9}, "participation_ratio"]},
    "AttackPlan.kind": {"attacks": [{"kind": "noise", "epsilons": [0, 0.1]}]},
    "AttackPlan.name": {"attacks.0.name": "other"},
    "AttackPlan.iterate": {"attacks.0.iterate": "any"},
    "AttackPlan.sweep": {
        "attacks": [{"kind": "pgd", "epsilons": [0, 0.1], "steps": 3, "iterate": "any", "sweep": "reuse"}]
    },
    "AttackPlan.displacement": {"attacks.0.displacement": True},
    "AttackPlan.save": {"attacks.0.save": "uint8"},
    "AttackPlan.transfer": {"attacks.0.transfer": True},
    "AttackPlan.steps": {"attacks.0.steps": 4},
    "Study.minimal": {"minimal": [{}]},
    "MinimalPlan.name": None,  # see the test of renamed searches
    "MinimalPlan.attack": {"minimal": [{"attack": "pgd"}]},
    "MinimalPlan.norm": {"minimal": [{"norm": "l2"}]},
    "MinimalPlan.largest": {"minimal": [{"largest": 0.3}]},
    "MinimalPlan.steps": {"minimal": [{"steps": 3}]},
    "MinimalPlan.tolerance": {"minimal": [{"tolerance": 0.1}]},
    "Study.attack_free": {"attack_free": [{"radius": 0.1}]},
    "AttackFreePlan.name": None,  # see the test of attack-free predictors of other settings
    "AttackFreePlan.norm": {"attack_free": [{"radius": 0.1, "norm": "l2"}]},
    "AttackFreePlan.radius": {"attack_free": [{"radius": 0.2}]},
    "AttackFreePlan.samples": {"attack_free": [{"radius": 0.1, "samples": 8}]},
    "Study.interventions": {"interventions": [{}]},
    "InterventionPlan.name": None,  # see the test of interventions of other settings
    "InterventionPlan.layer": {"interventions": [{"layer": "flatten"}]},
    "InterventionPlan.of": {"interventions": [{"of": ["all"]}]},
    "InterventionPlan.keep": {"interventions": [{"keep": ["only"]}]},
    "InterventionPlan.directions": {"interventions": [{"directions": [3]}]},
    "InterventionPlan.draws": {"interventions": [{"draws": 2}]},
    "InterventionPlan.attack": {"interventions": [{"attack": "pgd"}]},
    "InterventionPlan.strength": {"interventions": [{"strength": 0.1}]},
    "SamplingPlan.split_halves": {"sampling.split_halves": 2},
    "SamplingPlan.equal_sizes": None,  # see the test of classes of unequal sizes
    "SamplingPlan.null": {"sampling.null": 20},
    "SamplingPlan.curve": {"sampling.curve": 3},
    "SamplingPlan.reliability": {"sampling.reliability": 5},
    "SamplingPlan.second_draw": {"sampling.second_draw": False},
    "SamplingPlan.extrapolate": {"sampling.extrapolate": 2},
    "ShiftPlan.name": {"shifts.0.name": "other"},
    "ShiftPlan.source": None,  # another dataset would need its files
    "ShiftPlan.root": {"shifts.0.root": "elsewhere"},
    "ShiftPlan.split": None,  # the digits have one part only
    "ShiftPlan.match": None,  # of the digits the one class is the other either way: see the tests of matching
    "ShiftPlan.images_per_class": {"shifts.0.images_per_class": 9},
    "OodPlan.name": {"ood.0.name": "other"},
    "OodPlan.source": None,  # another dataset would need its files
    "OodPlan.root": {"ood.0.root": "elsewhere"},
    "OodPlan.split": None,  # the digits have one part only
    "OodPlan.classes": {"ood.0.classes": [0, 2]},
    "OodPlan.images_per_class": {"ood.0.images_per_class": 9},
    "PointsPlan.images_per_class": {"points": {"images_per_class": 5}},
    "PointsPlan.axes": {"points": {"axes": 5}},
    "AssociationPlan.methods": {"associations.methods": ["pearson"]},
    "AssociationPlan.permutations": {"associations.permutations": 300},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("plan"))
    made.prepare()
    return made


def raw_for(field):
    """The tiny study, with other datasets where the field is one of theirs."""
    return tiny.raw(**copy.deepcopy(tiny.OTHERS)) if field.startswith(("ShiftPlan.", "OodPlan.")) else tiny.raw()


SECTIONS = {name: section for name, section in vars(plan).items() if isinstance(section, type)}
SECTIONS |= {section.__name__: section for section in plan.sections()} | {"Study": plan.study_model()}


def is_keyed(field):
    section, name = field.split(".")
    info = SECTIONS[section].model_fields.get(name) if section in SECTIONS else None
    return True if info is None else info.json_schema_extra["keyed"]  # a registered item's own settings always are


@pytest.mark.parametrize("field", [field for field, change in CHANGES.items() if change])
def test_keys_change_if_and_only_if_the_field_says_so(field, store):
    raw = raw_for(field)
    known = keys(parse(raw), store)
    for key, value in CHANGES[field].items():
        loading._put(raw, key, value)
    assert (keys(parse(raw), store) != known) is is_keyed(field)


def by_kind(store, raw):
    """The keys of each kind of unit that measures."""
    units = tiny.planned(parse(raw), store)
    return {kind: {unit.key for unit in units if unit.kind == kind} for kind in ("geometry", "layer", "attack")}


@pytest.mark.parametrize(
    ("change", "measures", "changed"),
    [
        ({"null": 20}, ["pca_dimension", "centroid_distance"], {"geometry", "layer"}),
        ({"curve": 3}, ["pca_dimension", "centroid_distance"], {"geometry", "layer"}),
        ({"split_halves": 2}, ["centroid_distance"], {"layer"}),
        ({"extrapolate": 2}, ["pca_dimension", "centroid_distance"], {"geometry"}),
        ({"reliability": 5}, ["pca_dimension"], {"layer"}),
    ],
)
def test_what_is_asked_of_the_sample_enters_the_units_that_answer_it(store, change, measures, changed):
    raw = tiny.raw(measures=measures, jacobian_norm=2)
    before, after = by_kind(store, raw), by_kind(store, {**raw, "sampling": change})
    assert {kind for kind in before if before[kind] != after[kind]} == changed


def test_full_checks_depend_on_the_attack_in_question_and_on_no_other(store):
    pgd = {"kind": "pgd", "epsilons": [0, 0.05, 0.1, 0.2], "steps": 3}
    noise = {"kind": "noise", "epsilons": [0.1]}

    def checked(*attacks):
        study = tiny.study(checks="full", attacks=list(attacks))
        found = tiny.of_kind(tiny.planned(study, store), "check")
        return {unit.key for unit in found}, checked_attack(study)[1].epsilon

    known, epsilon = checked(pgd)
    assert (len(known), epsilon) == (2, 0.1)  # one a network, at the middle of the epsilons above 0
    assert checked(noise, {**pgd, "epsilons": [0.1]}) == (known, 0.1)
    assert not known & checked({**pgd, "steps": 4})[0]
    assert not known & checked({**pgd, "epsilons": [0.2]})[0]


def test_a_sweep_that_reuses_outcomes_needs_the_strength_below_and_shares_the_smallest(store):
    def attacks(**changes):
        attack = {"kind": "pgd", "epsilons": [0.2, 0.05, 0.1], "steps": 3, "iterate": "any", **changes}
        study = tiny.study(attacks=[attack], models=tiny.raw()["models"][:1])
        units = tiny.planned(study, store)
        assert all(set(unit.needs) <= {each.key for each in units[:place]} for place, unit in enumerate(units))
        return {(unit.attack.strength, unit.images.index): unit for unit in tiny.of_kind(units, "attack")}

    alone, reused = attacks(), attacks(sweep="reuse")
    assert alone.keys() == reused.keys()
    for (strength, label), unit in reused.items():
        assert (unit.key == alone[strength, label].key) is (strength == 0.05)
    assert reused[0.2, 1].reuses == (0.05, 0.1)
    assert reused[0.1, 1].key in reused[0.2, 1].needs
    assert alone[0.2, 1].reuses == ()


def test_each_setting_of_a_search_changes_its_keys_and_its_name_does_not(store):
    def searched(**settings):
        return keys(tiny.study(minimal=[settings]), store)

    known = searched()
    assert searched(name="other") == known
    for change in ({"norm": "l2"}, {"largest": 0.3}, {"steps": 3}, {"tolerance": 0.1}):
        assert searched(**change) != known
    assert searched(steps=20) == known
    with pytest.raises(StudyError, match="did you mean 8/255"):
        searched(largest=8)
    with pytest.raises(StudyError, match="two parts of the study in the column 'attack' are called 'pgd'"):
        searched(name="pgd")


def test_equal_sizes_touch_only_classes_with_more_images_than_the_smallest(store):
    raw = tiny.raw(models=tiny.raw()["models"][:1], measures=["pca_dimension", "centroid_distance"])
    raw["data"]["geometry"] = {}
    draws = draw_images(parse(raw), store)
    sizes = {label: len(draws["geometry"].images.of_class(label)) for label in (1, 4, 7)}
    assert sorted(sizes.values())[0] < sorted(sizes.values())[1]
    equal = {**raw, "sampling": {"equal_sizes": True}}
    drawn = draw_images(parse(equal), store)
    smallest = min(sizes, key=sizes.__getitem__)
    for label in (1, 4, 7):
        images, fewer = (each["geometry"].images.of_class(label) for each in (draws, drawn))
        assert len(fewer) == sizes[smallest]
        assert set(fewer.names) <= set(images.names)
        assert (drawn["geometry"].digests[label] == draws["geometry"].digests[label]) is (label == smallest)
    before, after = by_kind(store, raw), by_kind(store, equal)
    assert len(before["geometry"] & after["geometry"]) == 1
    assert not before["layer"] & after["layer"]
    assert before["attack"] == after["attack"]


def test_every_field_has_its_change():
    fields = {f"{section.__name__}.{name}" for section in sections() for name in section.model_fields}
    assert fields <= set(CHANGES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ["pca_dimension", "pca_dimension"]}, "the measure 'pca_dimension' is listed twice"),
        (
            {"measures": [{"name": "pca_dimension", "fraction": 95}]},
            "'pca_dimension': fraction = 95.0; expected a share",
        ),
        ({"measures": [{"name": "capacity", "directions": 1}]}, "the measure 'capacity': directions = 1; expected"),
        ({"models.1.training.seeds": [1, 1]}, "two models are called 'adversarial/1'"),
        ({"models.1.training.learning_rate": float("inf")}, "learning_rate"),
        ({"checks": "full", "attacks.0.epsilons": [0]}, "the study has none; add one"),
        ({"attacks.0.epsilons": [float("nan")]}, "epsilon = nan: input should be a finite number"),
        ({"attacks.0.displacement": True, "attacks.0.iterate": "any"}, "expected iterate = 'both'"),
        ({"attacks.0.sweep": "reuse"}, "give iterate = 'any', or sweep = 'independent'"),
        (
            {"attacks": [{"kind": "noise", "epsilons": [0.1], "iterate": "any", "sweep": "reuse"}]},
            "give sweep = 'independent', or an attack of kind pgd",
        ),
        ({"shifts": tiny.SHIFTS * 2}, "two parts of the study in the column 'dataset' are called 'again'"),
        ({"shifts": [{**tiny.SHIFTS[0], "classes": [1]}]}, "there is no setting 'classes'"),
        ({"ood": [{**tiny.OOD[0], "match": "index"}]}, "there is no setting 'match'"),
        ({"foreign": [{"source": "digits"}]}, "write [[shifts]] for the same classes, [[ood]] for others"),
        ({"smallest": [{}]}, "write [[minimal]]"),
        ({"threats": [{}]}, "write [[attacks]] for attacks, [[corruptions]] for common corruptions"),
        ({"sensitivity": 3}, "write jacobian_norm"),
        ({"models.1.training.objective": "natural"}, "there is no objective 'natural' any more; write standard"),
        ({"attacks.0.keep": "float"}, "there is no setting 'keep' any more; write save"),
        (
            {"attacks": [{"kind": "brightness", "severities": [1]}]},
            "'brightness' is one of the corruptions; write it under [[corruptions]]",
        ),
        (
            {"corruptions": [{"kind": "pgd", "epsilons": [0.1]}]},
            "'pgd' is one of the attacks; write it under [[attacks]]",
        ),
        (
            {
                "ood": tiny.OOD,
                "data.same_images": True,
                "data.geometry": {"images_per_class": 10},
            },
            "computed from the very same images; expected same_images = false",
        ),
    ],
)
def test_what_would_be_counted_twice_or_not_at_all_is_refused(changes, message):
    raw = tiny.raw()
    for key, value in changes.items():
        loading._put(raw, key, value)
    with pytest.raises(StudyError, match=re.escape(message)):
        parse(raw)


@pytest.mark.parametrize("entry", [*ATTACKS, *CORRUPTIONS], ids=lambda entry: entry.name)
def test_no_setting_of_an_attack_or_corruption_is_named_as_one_of_the_study_file(entry: Entry) -> None:
    assert not set(entry.settings.model_fields) & set(AttackPlan.model_fields)
