"""The embeddings of a screen: a row a cell with what is known of it, the same for a part of the screen."""

import numpy as np
import pandas as pd
import pytest
import torch

from phenolens.profiling.encoders import cell_crops
from phenolens.profiling.encoders.cell_crops import fit_intensity
from phenolens.profiling.encoders.embedding import embed_screen
from phenolens.profiling.encoders.encoder import load_encoder
from phenolens.profiling.encoders.network import EncoderNetwork
from phenolens.profiling.tables.profiles import treatment_names
from phenolens.runtime.errors import CellError, MemoryEnded
from phenolens.runtime.memory.fitting_batch import SmallerBatch
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from phenolens.screens.crops import cut, window_at
from phenolens.screens.table import read_screen
from phenolens.simulation.compound_screen import simulate_compound_screen

CROP = 40


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    made = simulate_compound_screen(
        folder, compounds=2, batches=2, wells=1, control_wells=1, sites=2, cells=4, shape=(96, 96), seed=2
    )
    screen = read_screen(finish(made))
    return screen, finish(find_cells(screen, folder / "labels")), finish(fit_intensity(screen))


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("default")


@pytest.fixture(scope="module")
def profiles(opened, encoder):
    screen, cells, intensity = opened
    return finish(embed_screen(encoder, screen, cells, crop=CROP, intensity=intensity))


def test_a_row_a_cell_with_what_is_known_of_it(opened, profiles, encoder):
    screen, cells, intensity = opened
    table, metadata = cells.table, profiles.metadata
    assert len(profiles) == len(table)
    assert profiles.vectors.shape == (len(table), encoder.dimension)
    assert np.isfinite(profiles.vectors).all()
    assert metadata["Metadata_Field"].tolist() == table["field"].tolist()
    assert metadata["Metadata_Label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(metadata[["Metadata_Y", "Metadata_X"]], table[["y", "x"]])
    for row in (0, len(table) // 2, len(table) - 1):
        for name, value in screen[metadata["Metadata_Field"].iloc[row]].metadata.items():
            assert metadata[name].iloc[row] == value
    assert all(str(column).startswith("Metadata_") for column in metadata.columns)
    assert profiles.level == "cell"
    card = profiles.card
    assert (card["encoder"], card["encoder_folder"], card["crop"], card["size"]) == ("default", "default", CROP, 64)
    assert card["channel_names"] == list(screen.channel_names)
    assert card["intensity"] == intensity.to_dict()


def test_a_row_is_the_embedding_of_that_cells_crop(opened, profiles, encoder):
    screen, _, intensity = opened
    one = profiles.metadata.iloc[3]
    plane = screen[one["Metadata_Field"]].image().plane()
    crop = cut(plane, window_at(one["Metadata_Y"], one["Metadata_X"], CROP))
    found = encoder.embed(np.asarray(crop, np.float32)[None], intensity)
    np.testing.assert_allclose(found[0], profiles.vectors[3], atol=1e-4 * np.abs(found).max())


def test_a_part_of_the_screen_is_embedded_alike(opened, profiles, encoder):
    screen, cells, intensity = opened
    chosen = np.arange(len(screen)) % 3 == 0
    part = screen.select(chosen)
    keys = [field.key for field in part]
    some = finish(embed_screen(encoder, part, cells, crop=CROP, intensity=intensity))
    rows = profiles.metadata["Metadata_Field"].isin(keys).to_numpy()
    pd.testing.assert_frame_equal(some.metadata, profiles.metadata[rows].reset_index(drop=True))
    np.testing.assert_allclose(some.vectors, profiles.vectors[rows], atol=1e-5 * np.abs(profiles.vectors).max())


def test_fields_and_wells_are_the_means_of_their_cells(opened, profiles, encoder):
    screen, cells, intensity = opened
    fields = finish(embed_screen(encoder, screen, cells, crop=CROP, intensity=intensity, level="field"))
    wells = finish(embed_screen(encoder, screen, cells, crop=CROP, intensity=intensity, level="well"))
    assert (fields.level, wells.level) == ("field", "well")
    assert (len(fields), len(wells)) == (cells.table["field"].nunique(), 6)
    columns = ["Metadata_Plate", "Metadata_Well"]
    for row in range(len(wells)):
        mine = (profiles.metadata[columns] == wells.metadata[columns].iloc[row]).all(axis=1).to_numpy()
        np.testing.assert_allclose(wells.vectors[row], profiles.vectors[mine].mean(0), rtol=1e-4, atol=1e-5)
    assert set(treatment_names(wells.metadata)) == set(treatment_names(profiles.metadata))


def test_cells_of_another_screen_are_refused(opened, encoder):
    screen, cells, intensity = opened
    other = type(cells)(cells.table.assign(field="elsewhere"), {})
    with pytest.raises(CellError, match="None of the cells lies in a field of this screen"):
        finish(embed_screen(encoder, screen, other, crop=CROP, intensity=intensity))


def test_the_map_of_a_large_screen_is_fitted_on_fewer_pixels(opened, monkeypatch):
    screen, _, whole = opened
    pixels = sum(field.image().plane().size for field in screen)
    monkeypatch.setattr(cell_crops, "_PIXELS", pixels // 9)
    fewer = finish(fit_intensity(screen))
    assert fewer != whole
    span = np.array(whole.high) - whole.low
    assert (np.abs(np.array(fewer.low) - whole.low) < 0.1 * span).all()
    assert (np.abs(np.array(fewer.high) - whole.high) < 0.3 * span).all()


def test_where_a_device_has_no_memory_left_smaller_parts_give_the_same(opened, encoder, profiles, monkeypatch):
    screen, cells, intensity = opened
    given = []

    def with_room_for(most, name):
        known = getattr(EncoderNetwork, name)

        def compute(self, rows, *rest):
            given.append((name, len(rows)))
            if len(rows) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return known(self, rows, *rest)

        monkeypatch.setattr(EncoderNetwork, name, compute)

    with_room_for(3, "features")
    with_room_for(1, "pool")
    with pytest.warns(SmallerBatch) as said:
        made = finish(embed_screen(load_encoder("default"), screen, cells, crop=CROP, intensity=intensity))
    assert len(said) == 2, "it is found out once"
    assert {("features", 2), ("pool", 1)} <= set(given)
    np.testing.assert_allclose(made.vectors, profiles.vectors, atol=1e-4)
    with_room_for(0, "features")
    with (
        pytest.warns(SmallerBatch),
        pytest.raises(MemoryEnded, match="cpu has no memory left for even one of the crops: close what else uses it"),
    ):
        finish(embed_screen(load_encoder("default"), screen, cells, crop=CROP, intensity=intensity))
