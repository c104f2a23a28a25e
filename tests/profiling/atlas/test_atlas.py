"""The atlas: what a plate adds is gone, nothing changes by looking, and mistakes are told in one sentence."""

import json

import numpy as np
import pandas as pd
import pytest

from phenolens.profiling.atlas.atlas import Atlas
from phenolens.profiling.corrections.plate_correction import PlateCorrection, plate_names
from phenolens.profiling.corrections.standardise import PlateScaling, Sphering
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import ModelError, OutputError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.runtime.provenance import sha256_of

DIMENSION = 12
COMPOUNDS = ("DMSO", "taxol", "wortmannin", "nocodazole")


def screen(plates=("P1", "P2", "P3"), wells=32, seed=0, controls=True, batches=None) -> Profiles:
    """Wells of four compounds, each with an effect, on plates that shift and stretch what is measured."""
    random = np.random.default_rng(seed)
    effects = np.vstack([np.zeros(DIMENSION), 4 * np.eye(3, DIMENSION)])
    rows, vectors = [], []
    for number, plate in enumerate(plates):
        compound = np.arange(wells) % 4
        plain = effects[compound] + random.normal(size=(wells, DIMENSION))
        vectors.append((1 + number) * plain + 20 * random.normal(size=DIMENSION))
        rows.append(
            pd.DataFrame(
                {
                    "Metadata_Plate": plate,
                    "Metadata_Well": [f"{'ABCDEFGH'[well // 12]}{well % 12 + 1:02d}" for well in range(wells)],
                    "Metadata_Compound": [COMPOUNDS[one] for one in compound],
                    "Metadata_Role": ["negative control" if one == 0 and controls else "treated" for one in compound],
                }
            )
        )
        if batches:
            rows[-1]["Metadata_Batch"] = batches[number]
    return Profiles(pd.concat(rows), np.concatenate(vectors).astype(np.float32), {"level": "well", "encoder": "tiny"})


@pytest.fixture(scope="module")
def profiles() -> Profiles:
    return screen()


@pytest.fixture(scope="module", params=["pca", "tsne"])
def atlas(request, profiles) -> Atlas:
    if request.param == "tsne":
        pytest.importorskip("openTSNE")
    return finish(Atlas.fit(profiles, projection=request.param))


@pytest.fixture
def folder(atlas, tmp_path):
    return atlas.save(tmp_path / "atlas")


def test_the_plate_is_gone_and_the_compound_stays(atlas):
    metadata = atlas.profiles.metadata
    raw, kept = atlas.profiles.vectors, atlas.vectors
    same = {}
    for name, vectors in (("raw", raw), ("corrected", kept)):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        similarity = unit @ unit.T
        similarity[np.equal.outer(metadata["Metadata_Plate"].to_numpy(), metadata["Metadata_Plate"].to_numpy())] = -2
        nearest = similarity.argmax(axis=1)
        treated = (metadata["Metadata_Compound"] != "DMSO").to_numpy()
        compound = metadata["Metadata_Compound"].to_numpy()
        same[name] = (compound == compound[nearest])[treated].mean()
    assert same["raw"] < 0.6
    assert same["corrected"] > 0.8


def test_the_correction_is_scaling_then_sphering(profiles, atlas):
    controls = (profiles.metadata["Metadata_Role"] == "negative control").to_numpy()
    plates = profiles.metadata["Metadata_Plate"].tolist()
    scaled = PlateScaling.fit(profiles.vectors, plates, controls).apply(profiles.vectors, plates)
    np.testing.assert_allclose(atlas.vectors, Sphering.fit(scaled[controls]).apply(scaled), atol=1e-5)
    assert atlas.card.correct == ("scale", "sphere")
    assert atlas.card.reference == "24 negative controls"
    assert atlas.card.profiles["encoder"] == "tiny"


def test_what_is_fitted_comes_out_again_bit_for_bit(profiles, atlas):
    again = atlas.correct(profiles.vectors, atlas.plates)
    np.testing.assert_array_equal(again, atlas.vectors)
    np.testing.assert_array_equal(atlas.place(again), atlas.coordinates)
    for row in range(0, len(profiles), 5):
        alone = atlas.correct(profiles.vectors[row : row + 1], [atlas.plates[row]])
        np.testing.assert_array_equal(alone[0], atlas.vectors[row])
        np.testing.assert_array_equal(atlas.place(alone)[0], atlas.coordinates[row])


def test_only_what_is_asked_for_is_corrected(profiles):
    plain = finish(Atlas.fit(profiles, correct=()))
    np.testing.assert_array_equal(plain.vectors, profiles.vectors)
    assert plain.card.reference.startswith("none")
    scaled = finish(Atlas.fit(profiles, correct=("scale",)))
    assert scaled.card.correct == ("scale",)
    plates = profiles.metadata["Metadata_Plate"].tolist()
    np.testing.assert_array_equal(scaled.vectors, scaled.correction.scaling.apply(profiles.vectors, plates))
    assert finish(Atlas.fit(profiles, correct=("sphere", "scale"))).card.correct == ("scale", "sphere")
    with pytest.raises(ValueError, match="'harmony' is no correction"):
        finish(Atlas.fit(profiles, correct=("harmony",)))


def test_without_controls_plates_are_not_scaled_and_the_card_says_so():
    profiles = screen(controls=False)
    without = finish(Atlas.fit(profiles))
    assert without.card.correct == ("sphere",)
    assert without.card.reference == (
        "no negative controls are marked (Metadata_Role), so plates are not scaled and sphering goes by all rows"
    )
    np.testing.assert_allclose(
        without.vectors, Sphering.fit(profiles.vectors).apply(profiles.vectors), rtol=1e-4, atol=1e-5
    )
    unscaled = finish(Atlas.fit(profiles, correct=("scale",)))
    assert unscaled.card.correct == ()
    np.testing.assert_array_equal(unscaled.vectors, profiles.vectors)
    assert unscaled.card.reference.endswith("so plates are not scaled")


def test_mechanisms_that_have_a_plate_each_survive_where_no_control_is_marked(tmp_path):
    random = np.random.default_rng(0)
    effects = np.repeat(6 * np.eye(3, DIMENSION), 2, axis=0)
    compound = np.repeat(np.arange(6), 8)
    vectors = effects[compound] + random.normal(size=(48, DIMENSION))
    metadata = pd.DataFrame(
        {"Metadata_Plate": [f"P{one // 2}" for one in compound], "Metadata_Compound": [f"C{one}" for one in compound]}
    )
    atlas = finish(Atlas.fit(Profiles(metadata, vectors.astype(np.float32), {"level": "well"})))
    kept = atlas.save(tmp_path / "atlas") and Atlas.load(tmp_path / "atlas")
    found = [
        kept.neighbours(kept.vectors[row], top=1, exclude=compound == compound[row])["row"].iloc[0] for row in range(48)
    ]
    assert (compound[found] // 2 == compound // 2).mean() > 0.6, "by chance 0.2; scaled by all rows of a plate 0.1"


def test_a_plate_without_controls_goes_by_its_other_treatments_and_the_card_says_so():
    partly = screen()
    partly.metadata.loc[partly.metadata["Metadata_Plate"] == "P2", "Metadata_Role"] = "treated"
    fitted = finish(Atlas.fit(partly))
    assert fitted.card.reference.startswith("16 negative controls; all rows on P2, with fewer than 3 controls")
    assert fitted.correction.scaling.without_controls == ("P2",)


def test_a_plate_never_seen_is_scaled_by_all_plates(profiles):
    scaled = finish(PlateCorrection.fit(profiles, ("scale",)))
    centre, spread = np.median(scaled.scaling.centre, axis=0), np.median(scaled.scaling.spread, axis=0)
    row = profiles.vectors[:1]
    np.testing.assert_allclose(scaled.apply(row, ["P9"]), (row - centre) / spread, rtol=1e-6)
    assert (scaled.apply(row, ["P9"]) != scaled.apply(row, ["P1"])).any()


def test_plates_of_one_name_in_two_batches_are_two():
    profiles = screen(("P1", "P1", "P2"), batches=("B1", "B2", "B2"))
    assert list(dict.fromkeys(plate_names(profiles.metadata))) == ["B1/P1", "B2/P1", "B2/P2"]
    correction = finish(PlateCorrection.fit(profiles, ("scale",)))
    row = profiles.vectors[:1]
    one, two = correction.apply(row, ["B1/P1"]), correction.apply(row, ["B2/P1"])
    assert (one != two).any()
    # A bare name does where it is clear, and where it is not the plate is treated as one never seen.
    np.testing.assert_array_equal(correction.apply(row, ["P2"]), correction.apply(row, ["B2/P2"]))
    np.testing.assert_array_equal(correction.apply(row, ["P1"]), correction.apply(row, ["P9"]))


def test_a_screen_without_plates_is_one_plate():
    profiles = screen(("P1",))
    bare = Profiles(profiles.metadata.drop(columns="Metadata_Plate"), profiles.vectors, profiles.card)
    np.testing.assert_array_equal(finish(Atlas.fit(bare)).vectors, finish(Atlas.fit(profiles)).vectors)


def test_large_plates_are_measured_on_some_of_their_rows_but_on_all_plates(monkeypatch):
    monkeypatch.setattr("phenolens.profiling.corrections.plate_correction._MOST_OF_A_PLATE", 6)
    monkeypatch.setattr("phenolens.profiling.corrections.plate_correction._MOST", 10)
    profiles = screen(("P1", "P2", "P3", "P4"))
    correction = finish(PlateCorrection.fit(profiles))
    assert correction.scaling.plates == ("P1", "P2", "P3", "P4")
    assert correction.scaling.without_controls == ()
    control = profiles.select((profiles.metadata["Metadata_Role"] == "negative control").to_numpy())
    first = control.vectors[:8][[0, 1, 2, 4, 5, 6]]
    np.testing.assert_allclose(correction.scaling.centre[0], np.median(first, axis=0), rtol=1e-6)


def test_neighbours_are_the_nearest_by_cosine(atlas):
    query = atlas.vectors[9]
    found = atlas.neighbours(query, top=7)
    unit = atlas.vectors.astype(float) / np.linalg.norm(atlas.vectors.astype(float), axis=1, keepdims=True)
    distance = 1 - unit @ unit[9]
    order = distance.argsort(kind="stable")[:7]
    assert found["row"].tolist() == order.tolist()
    np.testing.assert_allclose(found["distance"], distance[order], atol=1e-6)
    assert (found["distance"] >= 0).all()
    assert found["Metadata_Well"].tolist() == atlas.profiles.metadata["Metadata_Well"].iloc[order].tolist()
    assert found.index.tolist() == list(range(7))
    own = (atlas.profiles.metadata["Metadata_Plate"] == "P1").to_numpy()
    others = atlas.neighbours(query, top=7, exclude=own)
    assert set(others["Metadata_Plate"]) <= {"P2", "P3"}
    assert others["row"].tolist() == [row for row in distance.argsort(kind="stable") if not own[row]][:7]


@pytest.mark.parametrize("name", ["pca", "tsne"])
def test_another_map_has_the_same_distances_and_can_be_saved(atlas, tmp_path, name):
    if name == "tsne":
        pytest.importorskip("openTSNE")
    moved = finish(atlas.projected(name, seed=3))
    assert (moved.card.projection, moved.card.seed) == (name, 3)
    assert moved.vectors is atlas.vectors
    assert np.allclose(moved.coordinates, atlas.coordinates) == (name == atlas.card.projection)
    again = Atlas.load(moved.save(tmp_path / "moved"))
    assert again.coordinates.tobytes() == moved.coordinates.tobytes()
    back = finish(again.projected(atlas.card.projection, seed=atlas.card.seed))
    np.testing.assert_allclose(back.coordinates, atlas.coordinates, rtol=0, atol=1e-5)
    assert back.card == atlas.card


def test_saved_and_loaded_it_is_the_same(atlas, folder):
    loaded = Atlas.load(folder)
    assert loaded.card == atlas.card
    np.testing.assert_array_equal(loaded.vectors, atlas.vectors)
    np.testing.assert_array_equal(loaded.profiles.vectors, atlas.profiles.vectors)
    pd.testing.assert_frame_equal(loaded.profiles.metadata, atlas.profiles.metadata, check_dtype=False)
    random = np.random.default_rng(3)
    raw = random.normal(size=(9, DIMENSION)).astype(np.float32)
    corrected = atlas.correct(raw, ["P1", "P2", "P9"] * 3)
    np.testing.assert_array_equal(loaded.correct(raw, ["P1", "P2", "P9"] * 3), corrected)
    np.testing.assert_array_equal(loaded.place(corrected), atlas.place(corrected))
    np.testing.assert_array_equal(loaded.place(loaded.vectors), loaded.coordinates)


def test_looking_changes_no_byte(folder, tmp_path):
    before = sha256_of(folder)
    random = np.random.default_rng(2)
    for _ in range(3):
        loaded = Atlas.load(folder)
        points = loaded.correct(random.normal(size=(40, DIMENSION)), ["P1"] * 40)
        loaded.place(points)
        for point in points[:5]:
            loaded.neighbours(point, exclude=np.arange(len(loaded)) % 2 == 0)
        with pytest.raises(ValueError, match="read-only"):
            loaded.vectors[0] = 0
    assert sha256_of(folder) == before
    assert sha256_of(Atlas.load(folder).save(tmp_path / "copy")) == before


def test_saving_is_whole_or_not_at_all(atlas, folder, monkeypatch, tmp_path):
    before = sha256_of(folder)

    def broken(*_args, **_options):
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(OutputError, match="no space is left"):
        atlas.save(folder)
    with pytest.raises(OutputError):
        atlas.save(tmp_path / "new")
    assert sha256_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["atlas"]


def test_only_an_atlas_is_replaced(atlas, folder, tmp_path):
    assert Atlas.load(atlas.save(folder)).card == atlas.card
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear.txt").write_text("dear all")
    with pytest.raises(OutputError, match="exists and is not an atlas"):
        atlas.save(letters)
    assert (letters / "dear.txt").read_text() == "dear all"


def test_a_folder_that_is_no_atlas_or_a_newer_one_is_told(folder, tmp_path):
    with pytest.raises(ModelError, match="nowhere is not an atlas folder"):
        Atlas.load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is not an atlas folder"):
        Atlas.load(tmp_path)
    card = json.loads((folder / "atlas.json").read_text())
    (folder / "atlas.json").write_text(json.dumps({**card, "format": 99}))
    with pytest.raises(ModelError, match="has format 99 and this version of phenolens reads up to 1: update"):
        Atlas.load(folder)
    (folder / "atlas.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        Atlas.load(folder)


@pytest.mark.parametrize("name", ["profiles.parquet", "vectors.npy", "fitted.npz"])
def test_broken_files_are_told(folder, name):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cannot be read .*: make it again"):
        Atlas.load(folder)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"lacks {name}"):
        Atlas.load(folder)


def test_embeddings_that_do_not_fit_are_told(atlas):
    with pytest.raises(ScreenError, match="5 dimensions and those of the atlas 12: embed both with the same encoder"):
        atlas.correct(np.ones((2, 5)), ["P1", "P1"])
    with pytest.raises(ScreenError, match="1 plate names were given for 2 embeddings"):
        atlas.correct(np.ones((2, 12)), ["P1"])
    with pytest.raises(ScreenError, match="not finite"):
        atlas.correct(np.full((2, 12), np.nan), ["P1", "P1"])
    with pytest.raises(ScreenError, match="5 dimensions"):
        atlas.place(np.ones((2, 5)))
    with pytest.raises(ScreenError, match="5 dimensions"):
        atlas.neighbours(np.ones(5))
    with pytest.raises(ScreenError, match="no direction"):
        atlas.neighbours(np.zeros(12))


def test_profiles_that_cannot_be_fitted_are_told(profiles):
    vectors = profiles.vectors.copy()
    vectors[7, 2] = np.nan
    with pytest.raises(ScreenError, match="not finite"):
        finish(Atlas.fit(profiles.with_vectors(vectors)))
    vectors[7] = 0
    with pytest.raises(ScreenError, match=r"row 7 .* no direction"):
        finish(Atlas.fit(profiles.with_vectors(vectors), correct=()))


def test_fitting_tells_how_far_it_is(profiles):
    messages = [progress.message for progress in Atlas.fit(profiles)]
    assert messages[0] == "Measuring the plates"
    assert messages[-1] == "Placing all points"


def test_a_profile_as_the_encoder_gave_it_is_corrected_by_its_plate_before_its_neighbours_are_found(atlas, profiles):
    for row in (0, 40, -1):
        found = atlas.neighbours(profiles[row], top=4)
        assert found.equals(atlas.neighbours(atlas.vectors[row], top=4))
        assert found["row"][0] == row % len(profiles)
    with pytest.raises(ValueError, match="one embedding"):
        atlas.neighbours(profiles[:2])


def test_a_search_by_structure_goes_from_the_atlas(atlas, profiles, tmp_path):
    from phenolens.profiling.atlas.structure_search import search_structure

    class Encoder:
        dimension = DIMENSION
        compounds = pd.DataFrame({"Metadata_Compound": ["ethanol"], "SMILES": ["CCO"]})

        def counterfactual(self, controls, smiles, dose=None):
            return np.asarray(controls + 4 * np.eye(3, DIMENSION)[0], np.float32)

    found = atlas.search("CCCO", encoder=Encoder(), top=3)
    alone = finish(search_structure(atlas, Encoder(), "CCCO", top=3))
    assert found.neighbours.equals(alone.neighbours)
    assert found.applicability.compound == "ethanol"
    with pytest.raises(ModelError, match="neither 'default' nor an existing folder"):
        atlas.search("CCO", encoder=tmp_path / "nowhere")
