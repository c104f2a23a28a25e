"""``phenolens micon map`` and ``search``: an atlas from a file, and what is found in it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from phenolens.cli.map_picture import colour_groups, write_map_picture
from phenolens.cli.micon import map as micon_map
from phenolens.cli.micon import search as micon_search
from phenolens.cli.several import SeveralValues
from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.atlas.structure_search import Applicability, search_structure
from phenolens.profiling.tables.profile_files import write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.runtime.provenance import sha256_of

DIMENSION = 10
STRUCTURES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
}
EFFECTS = {name: 12 * np.eye(3, DIMENSION)[number] for number, name in enumerate(STRUCTURES)}

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
for module in (micon_map, micon_search):
    app.command(cls=SeveralValues, epilog=f"\b\nExample:\n  {module.EXAMPLE}")(module.command)


@dataclass(frozen=True)
class Ran:
    status: int
    error: str
    facts: dict[str, Any]
    text: str


def run(*arguments: object) -> Ran:
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    facts = json.loads(ended.stdout) if "--json" in arguments else {}
    return Ran(ended.exit_code, (ended.stderr.splitlines() or [""])[-1], facts, ended.stdout)


class FakeEncoder:
    """Knows three compounds, and adds to each control the effect of the one it is asked for."""

    dimension = DIMENSION

    def __init__(self) -> None:
        self.compounds = pd.DataFrame({"Metadata_Compound": list(STRUCTURES), "SMILES": list(STRUCTURES.values())})
        self.asked: list[tuple[int, str, float | None]] = []

    def counterfactual(self, controls, smiles, dose=None):
        self.asked.append((len(controls), smiles, dose))
        effect = next((EFFECTS[name] for name, one in STRUCTURES.items() if sorted(one) == sorted(smiles)), 0)
        return (controls + np.asarray(effect) * (1 if dose is None else dose)).astype(np.float32)


@pytest.fixture(scope="module")
def profiles() -> Profiles:
    random = np.random.default_rng(0)
    compound = np.tile(["DMSO", *STRUCTURES], 24)
    effect = np.array([EFFECTS.get(name, np.zeros(DIMENSION)) for name in compound])
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": np.repeat(["P1", "P2"], 48),
            "Metadata_Well": [f"{'ABCDEFGH'[well % 48 // 12]}{well % 12 + 1:02d}" for well in range(96)],
            "Metadata_Compound": compound,
            "Metadata_Role": np.where(compound == "DMSO", "negative control", "treated"),
            "Metadata_Concentration": np.where(compound == "DMSO", np.nan, 3.0),
        }
    )
    shift = np.repeat([[0.0], [10.0]], 48, axis=0)
    vectors = effect + random.normal(size=(96, DIMENSION)) + shift
    return Profiles(
        metadata, vectors.astype(np.float32), {"level": "well", "encoder": "tiny", "encoder_folder": "gone"}
    )


@pytest.fixture(scope="module")
def file(profiles, tmp_path_factory) -> Path:
    return write_profiles(profiles, tmp_path_factory.mktemp("profiles") / "wells.parquet")


@pytest.fixture(scope="module")
def mapped(file, tmp_path_factory) -> Ran:
    return run("map", file, "--out", tmp_path_factory.mktemp("map") / "atlas", "--json")


@pytest.fixture(scope="module")
def folder(mapped) -> Path:
    return Path(mapped.facts["atlas"])


def test_map_writes_an_atlas_and_a_picture(mapped, folder, profiles):
    assert mapped.status == 0
    assert mapped.facts["command"] == "micon map"
    assert (mapped.facts["rows"], mapped.facts["dimension"], mapped.facts["projection"]) == (96, DIMENSION, "pca")
    assert mapped.facts["correct"] == ["scale", "sphere"]
    assert mapped.facts["reference"] == "24 negative controls"
    atlas = Atlas.load(folder)
    np.testing.assert_array_equal(atlas.profiles.vectors, profiles.vectors)
    with Image.open(mapped.facts["picture"]) as picture:
        colours = {colour for _, colour in picture.getcolors(1 << 16)}
    assert {(0, 114, 178), (230, 159, 0), (0, 158, 115), (196, 196, 196)} <= colours
    written = json.loads((folder / "provenance.json").read_text())
    assert len(written["input_sha256"]) == 64
    assert written["versions"]["numpy"] == np.__version__


def test_map_takes_a_projection_and_corrections(file, tmp_path):
    pytest.importorskip("openTSNE")
    ran = run(
        "map", file, "--out", tmp_path / "a", "--projection", "tsne", "--correct", "none", "--seed", "4", "--json"
    )
    assert (ran.status, ran.facts["correct"]) == (0, [])
    atlas = Atlas.load(tmp_path / "a")
    assert (atlas.card.projection, atlas.card.seed) == ("tsne", 4)
    np.testing.assert_array_equal(atlas.vectors, atlas.profiles.vectors)
    said = run("map", file, "--out", tmp_path / "a", "--correct", "sphere").text
    assert said.splitlines()[0] == f"Mapped 96 wells (pca): {tmp_path / 'a'}"
    assert said.splitlines()[1] == "Reference: 24 negative controls"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--projection", "som"), "There is no map 'som': choose one of pca, umap, tsne."),
        (("--correct", "harmony"), "There is no correction 'harmony': choose"),
        (("--colour", "Metadata_Colour"), "There is no column 'Metadata_Colour'"),
    ],
)
def test_map_tells_mistakes(file, tmp_path, options, message):
    ran = run("map", file, "--out", tmp_path / "atlas", *options)
    assert ran.status == 2
    assert ran.error.startswith(f"phenolens: {message}")
    assert not list(tmp_path.iterdir())


def test_map_replaces_an_atlas_only(file, tmp_path):
    (tmp_path / "letters.txt").write_text("dear all")
    ran = run("map", file, "--out", tmp_path)
    assert ran.status == 2
    assert "exists and is not an atlas" in ran.error
    assert (tmp_path / "letters.txt").read_text() == "dear all"
    ran = run("map", tmp_path / "nothing.parquet", "--out", tmp_path / "a")
    assert ran.status == 2
    assert "nothing.parquet" in ran.error


def test_search_finds_what_looks_alike(folder, profiles):
    before = sha256_of(folder)
    ran = run("search", folder, "--row", "5", "--top", "6", "--json")
    assert ran.status == 0
    assert ran.facts["query"]["rows"] == [5]
    found = ran.facts["neighbours"]
    assert [one["Metadata_Compound"] for one in found] == ["aspirin"] * 6
    assert 5 not in [one["row"] for one in found]
    distances = [one["distance"] for one in found]
    assert distances == sorted(distances)
    atlas = Atlas.load(folder)
    expected = atlas.neighbours(atlas.vectors[5], 6, np.arange(96) == 5)
    assert [one["row"] for one in found] == expected["row"].tolist()
    np.testing.assert_array_equal(np.float32(ran.facts["query"]["place"]), atlas.coordinates[5])
    assert sha256_of(folder) == before


def test_search_takes_terms_and_a_file_of_profiles(folder, file):
    terms = ("--row", "Compound=caffeine,Plate=P1", "--top", "5", "--json")
    in_atlas, in_file = run("search", folder, *terms), run("search", file, *terms)
    assert in_atlas.facts == in_file.facts
    assert len(in_atlas.facts["query"]["rows"]) == 12
    assert {(one["Metadata_Compound"], one["Metadata_Plate"]) for one in in_atlas.facts["neighbours"]} == {
        ("caffeine", "P2")
    }
    others = run("search", folder, "--row", "Compound=caffeine,Plate=P1", "--without", "Compound", "--json")
    assert "caffeine" not in {one["Metadata_Compound"] for one in others.facts["neighbours"]}


def test_search_prints_a_table(folder):
    ran = run("search", folder, "--row", "5", "--top", "3")
    lines = ran.text.splitlines()
    assert lines[0] == "Nearest to row 5"
    for word in ("Distance", "Treatment", "Plate", "Well", "Row"):
        assert word in lines[2]
    assert sum("aspirin at 3 µM" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Give either --row KEY or --smiles S"),
        (("--row", "3", "--smiles", "CCO"), "Give either --row KEY or --smiles S"),
        (("--row", "3", "--dose", "1"), "--dose and --encoder belong to --smiles"),
        (("--row", "96"), "There is no row 96: the 96 rows are numbered from 0 to 95."),
        (("--row", "Compound=asprin"), "No field fits 'Compound=asprin'; did you mean 'aspirin'?"),
        (("--row", "Colour=red"), "There is no column 'Colour'"),
        (("--row", "3", "--without", "Plat"), "There is no column 'Plat'"),
        (("--smiles", "C1CC"), "The structure 'C1CC' cannot be read as SMILES; correct it, or leave it out."),
        (("--smiles", " "), "The structure '' is empty; give its SMILES, or leave it out."),
        (("--smiles", "CCO"), "The encoder of these profiles, gone, is not there now: give its folder with --encoder."),
        (("--smiles", "CCO", "--encoder", "nowhere"), "There is no encoder 'nowhere'"),
    ],
)
def test_search_tells_mistakes_in_one_sentence(folder, options, message):
    ran = run("search", folder, *options)
    assert ran.status == 2
    assert ran.error.startswith(f"phenolens: {message}")
    assert not ran.text


def test_search_refuses_what_is_no_atlas(tmp_path):
    ran = run("search", tmp_path, "--row", "1")
    assert ran.status == 2
    assert "is not an atlas folder" in ran.error


def test_search_by_structure(folder, monkeypatch):
    encoder = FakeEncoder()
    monkeypatch.setattr(micon_search, "load_named_encoder", lambda atlas, given: encoder)
    ran = run("search", folder, "--smiles", "OC(=O)c1ccccc1OC(C)=O", "--dose", "1.5", "--top", "5", "--json")
    assert ran.status == 0
    assert {one["Metadata_Compound"] for one in ran.facts["neighbours"]} == {"aspirin"}
    assert ran.facts["applicability"] == {"similarity": 1.0, "level": "near", "compound": "aspirin"}
    assert encoder.asked == [(24, "CC(=O)Oc1ccccc1C(=O)O", 1.5)]
    said = run("search", folder, "--smiles", "OC(=O)c1ccccc1OC(C)=O").text.splitlines()
    assert said[0] == "CC(=O)Oc1ccccc1C(=O)O, predicted from the controls."
    assert said[1].startswith("This compound is near to a training compound")
    assert "most like aspirin (Tanimoto similarity 1.00)" in said[1]


def test_a_strange_compound_is_told_to_be_far(folder):
    levels = [Applicability(value, "aspirin", "C").level for value in (1.0, 0.61, 0.6, 0.3, 0.29, 0.0)]
    assert levels == ["near", "near", "some", "some", "far", "far"]
    found = finish(search_structure(Atlas.load(folder), FakeEncoder(), "FC(F)(F)C#CCBr", top=3))
    assert found.prediction.applicability.level == "far"
    assert "a guess" in str(found.prediction.applicability)
    assert found.prediction.applicability.similarity < 0.3


def test_a_structure_match_is_the_mean_of_what_is_predicted(profiles):
    atlas = finish(Atlas.fit(profiles))
    encoder = FakeEncoder()
    match = finish(search_structure(atlas, encoder, STRUCTURES["caffeine"], top=4))
    controls = (profiles.metadata["Metadata_Role"] == "negative control").to_numpy()
    plates = profiles.metadata["Metadata_Plate"][controls].tolist()
    predicted = atlas.correct(profiles.vectors[controls] + EFFECTS["caffeine"].astype(np.float32), plates)
    np.testing.assert_allclose(match.prediction.vector, predicted.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(match.coordinates, atlas.place(match.prediction.vector[None])[0])
    assert match.neighbours["Metadata_Compound"].tolist() == ["caffeine"] * 4
    left = finish(search_structure(atlas, encoder, STRUCTURES["caffeine"], top=4, exclude=np.arange(96) < 48))
    assert set(left.neighbours["Metadata_Plate"]) == {"P2"}


def test_what_a_structure_search_needs(profiles):
    atlas, encoder = finish(Atlas.fit(profiles)), FakeEncoder()
    encoder.compounds = None
    with pytest.raises(ModelError, match="knows no compounds"):
        finish(search_structure(atlas, encoder, "CCO"))
    encoder = FakeEncoder()
    encoder.dimension = 5
    with pytest.raises(ScreenError, match="have 10 dimensions and the encoder makes 5"):
        finish(search_structure(atlas, encoder, "CCO"))
    treated = Profiles(profiles.metadata.assign(Metadata_Role="treated"), profiles.vectors, profiles.card)
    with pytest.raises(ScreenError, match="predicted from the negative controls, and none is marked"):
        finish(search_structure(finish(Atlas.fit(treated)), FakeEncoder(), "CCO"))


def test_many_groups_and_one_point_can_be_drawn(tmp_path, profiles):
    random = np.random.default_rng(0)
    many = np.array([f"a compound with a long name, number {number % 40}" for number in range(400)], object)
    write_map_picture(tmp_path / "many.png", random.normal(size=(400, 2)), many, "umap")
    write_map_picture(tmp_path / "one.png", np.ones((1, 2)), np.array([""], object), "pca")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (1620, 1200)
    names = colour_groups(profiles, None)
    assert set(names) == {"negative control", *STRUCTURES}
    assert set(colour_groups(profiles, "Plate")) == {"P1", "P2"}


@pytest.mark.parametrize("command", ["map", "search"])
def test_help_shows_an_example(command):
    assert "phenolens micon" in run(command, "--help").text
