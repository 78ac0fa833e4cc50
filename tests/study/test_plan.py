"""The study file: one typed definition, and errors that name the key, the value and what was expected."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from pydantic import BaseModel

from manifoldscope.errors import StudyError
from manifoldscope.study import plan
from manifoldscope.study.plan import Study, load, models_of, parse, preset_names, preset_text


def minimal(**changes):
    raw = {
        "data": {"source": "digits"},
        "models": [{"source": "small:cnn", "training": {"objective": "random"}}],
        "threats": [{"kind": "pgd", "epsilons": [0.1]}],
    }
    return {**raw, **changes}


@pytest.mark.parametrize("name", preset_names())
def test_a_built_in_study_is_valid_short_and_survives_a_round_trip(name):
    study = load(name)
    assert study.name == name
    assert study.question
    assert len(preset_text(name).splitlines()) <= 65
    assert parse(tomllib.loads(study.text())) == study


def test_all_built_in_studies_are_there():
    assert preset_names() == ["cifar10", "digits", "fashion-mnist", "imagenet", "mnist"]


def test_short_forms_and_defaults():
    study = parse(minimal(measures=["participation_ratio"]))
    assert study.measures[0].name == "participation_ratio"
    assert study.models[0].name == "cnn"
    assert study.threats[0].name == "pgd"
    assert study.threats[0].settings["steps"] == 20
    assert parse(minimal()).measures[0].settings == {"fraction": 0.95}


def test_a_threat_has_one_instance_for_each_strength():
    study = parse(minimal(threats=[{"kind": "pgd", "epsilons": [0, 0.1], "steps": 5, "relative_step_size": 0.5}]))
    weak, strong = study.threats[0].threats()
    assert (weak.epsilon, strong.epsilon, strong.resolved_step_size) == (0, 0.1, 0.05)
    assert weak.parameters == strong.parameters


def test_training_seeds_make_one_network_each():
    models = [{"source": "small:cnn", "name": "a", "training": {"objective": "natural", "seeds": [1, 2]}}]
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
        ("models.0.source=cnn", "expected scheme:name"),
        ("models.0.training.objective=naturel", "there is no objective 'naturel'; did you mean 'natural'"),
        ("models.0.training.epoch=3", "there is no setting 'epoch'"),
        ("models.1.training.lerning_rate=3", "lerning_rate"),
        ("threats.0.epsilons=[8]", "did you mean 8/255"),
        ("threats.0.steps=0", "steps = 0; expected at least 1"),
        ("threats.0.epsilons=[0.1, 0.1]", "a strength is listed twice"),
        ("threats.0.epsilons=[]", "give at least one strength"),
        ("threats.0.kind=pdg", "there is no threat 'pdg'; did you mean 'pgd'"),
        ("measures.0.fraction=[]", "fraction"),
        ("measures.0.name=pca", "there is no measure 'pca'"),
        ("models.7.name=x", "models.7 does not exist; expected a number from 0 to 2"),
        ("seed.x=1", "seed is a value and has no keys of its own"),
        ("data.same_images=true", "differ; give them the same"),
        ("models.1.name=random", "two models are called 'random'"),
        ("threats.1.name=pgd", "two threats are called 'pgd'"),
        ("nonsense", "expected KEY=VALUE"),
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
        parse(minimal(models=[{"source": "small:cnn", "weights": "x", "training": {"objective": "natural"}}]))


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
    with pytest.raises(StudyError, match="cannot be read"):
        load(broken)


def test_changes_reach_any_key():
    changes = ["data.classes=[1, 2]", "models.0.name=untrained", "measures.0.fraction=0.9", "data.root=~/x y"]
    study = load("digits", [*changes, "threats.0.epsilons=[0.1]"])
    assert study.data.classes == [1, 2]
    assert study.models[0].name == "untrained"
    assert study.measures[0].settings["fraction"] == 0.9
    assert study.threats[0].settings["epsilons"] == [0.1]
    assert study.data.root == "~/x y"


def sections():
    return [
        item
        for item in vars(plan).values()
        if isinstance(item, type) and issubclass(item, BaseModel) and item.model_fields
    ]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_field_says_what_it_is_for_and_whether_it_changes_results(section):
    for name, info in section.model_fields.items():
        nested = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        if nested and section is Study:
            continue  # a section of its own, whose fields say it
        assert info.description, f"{section.__name__}.{name} has no description"
        assert isinstance((info.json_schema_extra or {}).get("keyed"), bool), f"{section.__name__}.{name}: keyed?"


def test_the_json_schema_knows_every_registered_item():
    text = json.dumps(plan.json_schema())
    for name in ("pca_dimension", "pgd", "adversarial", "^torchvision:", "epsilons", "fashion-mnist"):
        assert json.dumps(name) in text
