"""One file outside the package adds one of each, through the command line."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest

from manifoldscope import plugins
from manifoldscope.api import open_results, run
from manifoldscope.cli import main
from manifoldscope.errors import DataError, ManifoldscopeError, ModelError, StudyError
from manifoldscope.geometry.measures import MEASURES
from manifoldscope.registry import Registry
from manifoldscope.report import diagnose, draw
from manifoldscope.report.contents import gather
from manifoldscope.report.explore import explore, select
from manifoldscope.study.loading import parse
from manifoldscope.study.progress import Progress
from manifoldscope.study.store import Store
from manifoldscope.tables import TABLES
from manifoldscope.vision import load
from manifoldscope.vision.sources import network
from tests.study import tiny

PLUGIN = '''
from dataclasses import dataclass
from typing import ClassVar

import polars as pl
import torch
from torch.nn import functional as F

from manifoldscope.geometry.measures import MEASURES
from manifoldscope.report import FIGURES, Chart, Figure, Section
from manifoldscope.attacks.corruptions.corruption import corruption
from manifoldscope.attacks.perturbation import ATTACKS, Perturbation
from manifoldscope.study.refs import NetworkRef, unkeyed
from manifoldscope.study.unit import Payload, Unit, kind
from manifoldscope.tables import INTEGER, TEXT, Schema
from manifoldscope.training.objectives import OBJECTIVES, Standard
from manifoldscope.vision.datasets.dataset import DATASETS
from manifoldscope.vision.images import ImageSet
from manifoldscope.vision.network import Network
from manifoldscope.vision.sources import SOURCES


@MEASURES.of_spectrum("my_spread", invariant_to=("rotation",))
def my_spread(spectrum, *, power: float = SPREAD):
    """The sum of the eigenvalues to a power."""
    return float(spectrum.eigenvalues.sum()) ** power


@ATTACKS.register("my_shift")
@dataclass(frozen=True, kw_only=True)
class MyShift(Perturbation):
    """Every pixel brighter by epsilon."""

    kind: ClassVar[str] = "my_shift"
    strength_setting: ClassVar[str] = "epsilon"

    epsilon: float

    def start(self, rows):
        return {"images": (rows.clean + self.epsilon).clamp(0, 1)}

    def excess(self, clean, perturbed):
        return (perturbed - clean).abs().flatten(1).amax(1) - self.epsilon


@DATASETS.register("my_stripes", splits=("all",), needs_root="")
def my_stripes(*, split: str = "all", root: str | None = None):
    """Three classes of stripes, 40 images each."""
    noise = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0)) / 2
    labels = torch.arange(120) % 3
    for place, label in enumerate(labels.tolist()):
        noise[place, :, label::3] += 0.5
    return ImageSet.of(noise, labels, class_names=["a", "b", "c"], source="my_stripes", split=split)


@SOURCES.register("mine")
def mine(name: str, *, weights: str | None = None, seed: int = 0):
    """A linear network."""
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    return Network(module=module, name=name, mean=(0.5,), std=(0.5,))


@corruption(0.9, 0.8, 0.7, 0.6, 0.5)
def my_dust(images, value, generators):
    """Every image darker."""
    return images * value


@OBJECTIVES.register("my_squares")
@dataclass(frozen=True, kw_only=True)
class MySquares(Standard):
    """Squared distance to the one-hot label."""

    def loss(self, network, pixels, labels, progress, generator):
        outputs = network(pixels)
        return F.mse_loss(outputs, F.one_hot(labels, outputs.shape[1]).float())


@kind("my_bias")
@dataclass(frozen=True, kw_only=True)
class MyBias(Unit):
    """How often a network says each class."""

    files = ("my_bias.parquet",)
    tables = (
        Schema(
            name="my_bias",
            row="a class that a network says",
            columns={"model": TEXT, "label": INTEGER, "n_said": INTEGER},
            identity=("model", "label"),
        ),
    )

    network: NetworkRef
    images: str
    n_images: int = unkeyed()

    @classmethod
    def of_network(cls, planning, network):
        drawn = planning.draws["robustness"]
        yield cls(network=network.ref, images=drawn.digest, n_images=len(drawn.images))

    def compute(self, context, tick):
        network, images = context.network(self.network.name), context.draws["robustness"].images
        said = network(network.pixels(images)).argmax(1)
        rows = [{"label": label, "n_said": int((said == label).sum())} for label in range(3)]
        return Payload(tables={"my_bias": pl.DataFrame(rows)})

    @classmethod
    def rows(cls, store, units):
        return {"my_bias": [store.table(u, "my_bias").with_columns(model=pl.lit(u.network.name)) for u in units]}


@FIGURES.register("my_bias", section=Section("my-bias", "Which classes does a network prefer?", place=65))
def my_bias_bars(contents):
    """How often each network says each class."""
    table = contents.tables["my_bias"]
    if table.is_empty():
        return
    chart = Chart(width=4)
    chart.flat[0].bar(table["label"].to_list(), table["n_said"].to_list())
    yield Figure("my_bias", "Classes said", "Each bar is a class.", chart, table)
'''


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.replace("SPREAD", "0.5"))
    yield path
    for name in list(sys.modules):
        if name.startswith("manifoldscope_plugin_mine"):
            Registry.forget(name)


def study_of(plugin, **changes):
    raw = {
        "name": "mine",
        "plugins": [str(plugin)],
        "layers": ["penultimate"],
        "batch_size": 30,
        "data": {
            "source": "my_stripes",
            "geometry": {"images_per_class": 12},
            "robustness": {"images_per_class": 10},
            "training": {"images_per_class": 15},
        },
        "models": [{"name": "linear", "source": "mine:linear", "training": {"objective": "my_squares", "epochs": 20}}],
        "measures": ["my_spread"],
        "attacks": [{"kind": "my_shift", "epsilons": [0, 0.1]}],
        "corruptions": [{"kind": "my_dust", "severities": [2]}],
        "associations": {"permutations": 100},
    }
    return {**raw, **changes}


def test_one_file_adds_one_of_each(plugin, tmp_path, capsys):
    import tomli_w

    (tmp_path / "study.toml").write_text(tomli_w.dumps(study_of(plugin)))
    command = [sys.executable, "-m", "manifoldscope"]
    done = subprocess.run(
        [*command, "run", str(tmp_path / "study.toml"), "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for again in ("status", "verify", "report"):  # each in a process that has yet to load the file
        shown = [*command, again, str(tmp_path / "run")]
        found = subprocess.run(shown, capture_output=True, text=True, check=False)
        assert found.returncode == 2, found.stderr
        assert f"made with the plug-in {plugin}, a program that is run only if you ask for it" in found.stderr
        moved = plugin.parent / "elsewhere" / plugin.name
        moved.parent.mkdir(exist_ok=True)
        moved.write_bytes(plugin.read_bytes())
        found = subprocess.run([*shown, "--plugin", str(moved)], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
    plugins.load([str(plugin)])
    store = Store(tmp_path / "run")
    said = store.read_table("my_bias")
    assert (said["n_said"].sum(), said["model"].unique().to_list()) == (30, ["linear"])
    assert store.read_table("geometry")["measure"].unique().to_list() == ["my_spread"]
    robustness = store.read_table("robustness")
    assert set(robustness["attack"]) == {"my_shift", "my_dust"}
    assert store.read_table("models")["clean_accuracy"][0] > 0.9  # the objective trained it
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Which classes does a network prefer?" in page
    assert "Each bar is a class." in page
    assert (tmp_path / "run" / "figures" / "my_bias.svg").exists()


def test_what_uses_a_plugin_has_its_contents_in_its_key_and_nothing_else_has(plugin, tmp_path):
    store = Store(tmp_path / "run")
    store.prepare()

    def keys(**changes):
        units = tiny.planned(parse(tiny.raw(plugins=[str(plugin)], **changes)), store)
        return {
            name: {unit.key for unit in tiny.of_kind(units, name)}
            for name in ("geometry", "attack", "inspect", "my_bias")
        }

    before, before_without = keys(measures=["my_spread"]), keys()
    plugin.write_text(plugin.read_text().replace("0.5:", "0.5 :").replace("= 0.5)", "= 0.25)"))
    after, after_without = keys(measures=["my_spread"]), keys()
    assert MEASURES["my_spread"].settings().power == 0.25
    assert {name for name in before if not before[name] & after[name]} == {"geometry", "my_bias"}
    assert {name for name in before if before_without[name] != after_without[name]} == {"my_bias"}


def test_a_small_network_of_a_plugin_has_its_contents_in_its_key(tmp_path):
    store, path = Store(tmp_path / "run"), tmp_path / "mine.py"
    store.prepare()

    def keys():
        models = [{"source": f"small:{name}", "training": {"objective": "standard"}} for name in ("mine", "mlp")]
        units = tiny.planned(parse(tiny.raw(plugins=[str(path)], models=models)), store)
        return {unit.network.name: unit.key for unit in tiny.of_kind(units, "train")}

    network = """
    from torch import nn

    from manifoldscope.vision import SMALL


    @SMALL.register("mine")
    def mine(*, channels: int, size: int, n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(channels * size**2, n_classes))
    """
    try:
        path.write_text(textwrap.dedent(network))
        before = keys()
        path.write_text(path.read_text().replace("0.1", "0.2"))
        after = keys()
    finally:
        for name in list(sys.modules):
            if name.startswith("manifoldscope_plugin_mine"):
                Registry.forget(name)
    assert before["mlp"] == after["mlp"]
    assert before["mine"] != after["mine"]


def test_list_says_what_comes_from_where(plugin, capsys):
    assert main(["list", "measures", "--plugin", str(plugin)]) == 0
    shown = capsys.readouterr().out
    assert f"my_spread (power=0.5) from {plugin}" in shown
    assert "two_nn" in shown
    assert "two_nn (method='fit', discard=0.1) from" not in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        (
            "from manifoldscope.geometry.measures import MEASURES\n"
            "@MEASURES.of_spectrum('two_nn', invariant_to=())\ndef two_nn(spectrum): ...",
            "the measure 'two_nn' is registered twice",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StudyError, match=r"the plug-in .*broken.py cannot be") as found:
        parse(tiny.raw(plugins=[str(path)]))
    assert message in str(found.value)


def test_installed_packages_are_found_by_their_entry_points(tmp_path):
    (tmp_path / "theirs.py").write_text(
        textwrap.dedent(
            """
            from manifoldscope.geometry.estimate import Estimate
            from manifoldscope.geometry.measures import MEASURES

            @MEASURES.of_spectrum("theirs", invariant_to=())
            def theirs(spectrum):
                \"\"\"Somebody else's.\"\"\"
                return Estimate(1.0, spectrum.n_points, spectrum.n_features, {})
            """
        )
    )
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[manifoldscope]\ntheirs = theirs\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from manifoldscope.cli import main; main(sys.argv[1:])"
    found = subprocess.run(
        [sys.executable, "-c", code, "list", "measures"], capture_output=True, text=True, check=False
    )
    assert f"theirs from {tmp_path / 'theirs.py'}\n  Somebody else's." in found.stdout, found.stderr


def test_a_module_that_is_importable_is_a_plugin_too(tmp_path, monkeypatch):
    (tmp_path / "importable.py").write_text(PLUGIN.replace("SPREAD", "0.5"))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert parse(study_of("importable")).measures[0].settings == {"power": 0.5}
    finally:
        Registry.forget("importable")


def test_the_report_of_a_study_with_a_plugin_needs_it(plugin, tmp_path):
    result = run(parse(study_of(plugin)), out=tmp_path / "run", progress=Progress(quiet=True))
    assert isinstance(result.table("my_bias"), pl.DataFrame)
    plugin.unlink()
    code = f"from manifoldscope.cli import main; raise SystemExit(main(['status', {str(tmp_path / 'run')!r}]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "the plug-in" in found.stderr
    assert "Traceback" not in found.stderr
    with pytest.raises(StudyError, match="cannot be read"):
        open_results(tmp_path / "run", plugins=[str(plugin)])


def test_a_folder_of_results_runs_no_program_that_nobody_asked_for(plugin, tmp_path, monkeypatch):
    result = run(parse(study_of(plugin)), out=tmp_path / "run", progress=Progress(quiet=True))
    page = result.report.read_bytes()
    monkeypatch.setattr(plugins, "_loaded", {})  # as in another process
    for asked in (lambda: open_results(result.folder), lambda: result.findings, lambda: result.status):
        with pytest.raises(StudyError, match="a program that is run only if you ask for it"):
            asked()
    assert open_results(result.folder, plugins=[str(plugin)]).report.read_bytes() == page


def test_a_figure_whose_code_has_changed_is_drawn_anew(plugin, tmp_path):
    result = run(parse(study_of(plugin)), out=tmp_path / "run", progress=Progress(quiet=True))
    assert "Each bar is a class." in result.report.read_text()
    plugin.write_text(plugin.read_text().replace("Each bar is a class.", "A bar for each class."))
    assert run(parse(study_of(plugin)), out=tmp_path / "run", progress=Progress(quiet=True)).n_computed > 0
    assert "A bar for each class." in result.report.read_text()


def test_results_without_units_of_a_plugin_that_is_loaded_have_its_table_without_rows(plugin, tmp_path, capsys):
    plugins.load([str(plugin)])
    theirs = run(parse(study_of(plugin)), out=tmp_path / "theirs", progress=Progress(quiet=True))
    plain = [sys.executable, "-m", "manifoldscope", "run", "digits", "--quiet", "--out", str(tmp_path / "plain")]
    for change in ("measures=[]", "models=[{name='mlp', source='small:mlp', training={objective='random'}}]"):
        plain += ["--set", change]
    subprocess.run(plain, check=True, capture_output=True)  # in a process that does not know of it
    result = open_results(tmp_path / "plain")
    assert result.table("my_bias").is_empty()
    assert result.findings
    assert main(["compare", str(theirs.folder), str(tmp_path / "plain"), "--out", str(tmp_path / "both.html")]) == 0


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("@FIGURES.register('mine', section=Section('mine', 'Mine?', place=1))", "figure"),
        ("@FINDINGS.register('mine')", "finding"),
        ("@VIEWS.register('mine', title='Mine', caption='', place=1, script='card.js')", "view"),
    ],
)
def test_what_fails_while_the_report_is_written_is_named_with_its_line(tmp_path, item, said):
    path = tmp_path / "mine.py"
    path.write_text(
        "from manifoldscope.report import FIGURES, FINDINGS, Section\nfrom manifoldscope.report.explore import VIEWS\n"
        f"{item}\ndef mine(given):\n    return 1 / 0\n"
    )
    plugins.load([str(path)])
    contents = gather({}, {}, ())
    try:
        with pytest.raises(ManifoldscopeError, match=rf"the {said} 'mine' \(.*mine\.py, line 5\) failed: ZeroDivision"):
            {"figure": lambda: draw("mine", {}), "finding": lambda: diagnose({})}.get(
                said, lambda: explore(contents, select(contents))
            )()
    finally:
        for name in list(sys.modules):
            if name.startswith("manifoldscope_plugin_mine"):
                Registry.forget(name)


@pytest.mark.parametrize(
    ("item", "ask", "failed", "other"),
    [
        (
            "@SOURCES.register('mine')\ndef mine(name):\n",
            lambda: network("mine:any"),
            (ModelError, r"the model source 'mine' \(.*mine\.py, line 4\) failed: ZeroDivision"),
            r"the source of mine:any gave int; expected a Network",
        ),
        (
            "@DATASETS.register('mine', splits=('all',), needs_root='')\ndef mine(*, root=None):\n",
            lambda: load("mine"),
            (DataError, r"the dataset 'mine' \(.*mine\.py, line 4\) failed: ZeroDivision"),
            r"the dataset mine gave int; expected an ImageSet",
        ),
    ],
)
def test_a_source_that_fails_or_gives_something_else_is_told(tmp_path, item, ask, failed, other):
    path = tmp_path / "mine.py"
    for given, (kind, message) in (("1 / 0", failed), ("1", (failed[0], other))):
        path.write_text(f"from manifoldscope.vision import DATASETS, SOURCES\n{item}    return {given}\n")
        plugins.load([str(path)])
        try:
            with pytest.raises(kind, match=message):
                ask()
        finally:
            for name in list(sys.modules):
                if name.startswith("manifoldscope_plugin_mine"):
                    Registry.forget(name)


def test_a_kind_whose_table_is_there_already_is_named(plugin):
    plugin.write_text(plugin.read_text().replace('name="my_bias",', 'name="pairs",'))
    plugins.load([str(plugin)])
    with pytest.raises(ManifoldscopeError, match="'my_bias' brings a table 'pairs', which is there already"):
        list(TABLES)


def test_points_are_measured_by_a_measure_of_a_plugin(plugin, tmp_path, capsys):
    np.save(tmp_path / "points.npy", np.eye(6))
    command = [
        "measure",
        str(tmp_path / "points.npy"),
        "--plugin",
        str(plugin),
        "--measure",
        "my_spread",
        "--split-halves=0",
    ]
    assert main(command) == 0
    assert "my_spread" in capsys.readouterr().out
