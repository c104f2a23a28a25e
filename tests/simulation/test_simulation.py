"""Simulated cells: the same cell under every treatment, effects that grow with dose, screens on disk."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from phenolens.runtime.errors import OutputError, ScreenError
from phenolens.runtime.output_kinds import SCREEN
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Progress, finish
from phenolens.simulation import (
    TREATMENTS,
    PlateEffect,
    SimulatedField,
    Style,
    random_plate,
    random_style,
    simulate_field,
    simulate_screen,
    style_for,
)

SHAPE = (192, 192)
DOSES = (0.0, 0.25, 0.5, 0.75, 1.0)

# Clean images of cells that stand apart, in which an effect can be measured in the pixels themselves.
CLEAR = Style(
    nucleus_radius=9,
    confluence=0.5,
    clustering=0.0,
    photons=20000,
    read_noise=0.5,
    glow=0.0,
    psf=0.7,
    shading=0.0,
    debris=0.0,
    mitotic=0.0,
    brightness_spread=(0.1, 0.1, 0.1),
)
STYLES = {
    "latrunculin": replace(CLEAR, second="actin"),
    "translocation": replace(CLEAR, second="reporter"),
    "lrrk2": replace(CLEAR, second="neurites", organelle="puncta", confluence=0.25, neurite_length=5),
    "nocodazole": replace(CLEAR, organelle="golgi"),
    "null": CLEAR,
}


def field_at(treatment: str, dose: float, seed: int = 3, **options: object) -> SimulatedField:
    return simulate_field(STYLES[treatment], seed, treatment=treatment, dose=dose, shape=SHAPE, **options)


def near(field: SimulatedField, cell: "pd.Series[float]", reach: float) -> np.ndarray:
    """Mask of the pixels within `reach` px of a cell's centre."""
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(y - cell.y, x - cell.x) <= reach


def test_field_has_three_channels_of_whole_numbers_and_labelled_nuclei() -> None:
    field = simulate_field(CLEAR, 1, shape=(160, 224), n_cells=9)
    assert field.image.shape == (3, 160, 224)
    assert field.image.dtype == np.uint16
    assert field.nuclei.shape == (160, 224)
    assert field.nuclei.dtype == np.int32
    assert field.channel_names == ("DNA", "Cytoskeleton", "Organelle")
    assert field.pixel_size == CLEAR.pixel_size
    inside = field.cells[~field.cells.border]
    assert set(inside.label) <= set(np.unique(field.nuclei))
    for cell in inside.itertuples():
        assert field.nuclei[cell.y, cell.x] == cell.label
        assert (field.nuclei == cell.label).sum() == cell.nucleus_area


def test_the_wanted_number_of_cells_is_placed_without_overlap_of_nuclei() -> None:
    field = simulate_field(CLEAR, 5, shape=(512, 512), n_cells=30)
    centre_in_field = [field.nuclei[cell.y, cell.x] == cell.label for cell in field.cells.itertuples()]
    assert 30 <= sum(centre_in_field) <= len(field.cells) < 45
    inner = field.cells[~field.cells.border]
    drawn = np.bincount(field.nuclei.ravel(), minlength=field.cells.label.max() + 1)[inner.label]
    np.testing.assert_array_equal(drawn, inner.nucleus_area)


def test_nuclei_are_the_bright_part_of_the_first_channel() -> None:
    field = simulate_field(CLEAR, 2, shape=SHAPE)
    inside = field.nuclei > 0
    assert np.median(field.image[0][inside]) > 5 * np.median(field.image[0][~inside])


@pytest.mark.parametrize("seed", range(4))
def test_same_seed_gives_the_same_style_plate_and_field(seed: int) -> None:
    assert random_style(seed) == random_style(seed) != random_style(seed + 1)
    assert random_plate(seed) == random_plate(seed) != random_plate(seed + 1)
    first, second, other = (simulate_field(random_style(seed), s, shape=(128, 128)) for s in (seed, seed, seed + 9))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.nuclei, second.nuclei)
    pd.testing.assert_frame_equal(first.cells, second.cells)
    assert (first.image != other.image).any()


def test_random_styles_vary_widely() -> None:
    styles = [random_style(seed) for seed in range(200)]
    assert {style.second for style in styles} == {"actin", "tubulin", "reporter", "neurites"}
    assert {style.organelle for style in styles} == {"golgi", "puncta", "network", "membrane"}
    radii = [style.nucleus_radius for style in styles]
    assert min(radii) < 8.5
    assert max(radii) > 16.5
    assert {style.ceiling for style in styles} == {255, 65535}
    photons = [style.photons for style in styles]
    assert min(photons) < 60
    assert max(photons) > 2000


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_style_for_a_treatment_shows_its_effect_and_null_none(treatment: str) -> None:
    for seed in range(3):
        style = style_for(treatment, seed)
        assert style == style_for(treatment, seed)
        control = simulate_field(style, seed, shape=(128, 128))
        treated = simulate_field(style, seed, treatment=treatment, dose=1.0, shape=(128, 128))
        if treatment == "null":
            np.testing.assert_array_equal(control.image, treated.image)
            np.testing.assert_array_equal(control.nuclei, treated.nuclei)
        else:
            assert (control.image != treated.image).any()


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_no_dose_is_no_treatment(treatment: str) -> None:
    np.testing.assert_array_equal(
        field_at(treatment, 0.0).image, simulate_field(STYLES[treatment], 3, shape=SHAPE).image
    )


@pytest.mark.parametrize(
    ("treatment", "untouched"),
    [("translocation", (0, 2)), ("lrrk2", (0,)), ("nocodazole", (0,))],
)
def test_channels_that_a_treatment_does_not_act_on_are_identical(treatment: str, untouched: tuple[int, ...]) -> None:
    control, treated = field_at(treatment, 0.0), field_at(treatment, 1.0)
    for channel in untouched:
        np.testing.assert_array_equal(control.image[channel], treated.image[channel])
    np.testing.assert_array_equal(control.nuclei, treated.nuclei)


def test_pixels_far_from_changed_cells_are_identical() -> None:
    """Noise included: outside every cell the two images are the same, photon by photon."""
    style = replace(STYLES["translocation"], confluence=0.2, photons=60, read_noise=5.0)
    control = simulate_field(style, 3, shape=SHAPE)
    treated = simulate_field(style, 3, treatment="translocation", dose=1.0, shape=SHAPE)
    assert np.std(control.image[1].astype(float)) > 0
    changed = (control.image != treated.image).any(0)
    reach = np.sqrt(control.cells.cell_area.max()) * 1.8 + 6
    close = np.zeros(SHAPE, bool)
    for _, cell in control.cells.iterrows():
        close |= near(control, cell, reach)
    assert changed.any()
    assert not (changed & ~close).any()


def test_noise_is_shared_between_conditions() -> None:
    """The treated noisy image minus the treated clean one correlates with that of the control."""
    noisy = replace(STYLES["translocation"], photons=80)
    clean = replace(noisy, photons=1e12, read_noise=0.0)
    residual = []
    for dose in (0.0, 1.0):
        pair = [
            simulate_field(s, 3, treatment="translocation", dose=dose, shape=SHAPE).image[1] for s in (noisy, clean)
        ]
        residual.append((pair[0].astype(float) - pair[1]).ravel())
    assert np.corrcoef(residual)[0, 1] > 0.9


def test_cells_of_a_field_keep_labels_places_and_response() -> None:
    control, treated = field_at("latrunculin", 0.0), field_at("latrunculin", 1.0)
    same = ["label", "y", "x", "response", "nucleus_area", "border"]
    pd.testing.assert_frame_equal(control.cells[same], treated.cells[same])
    assert control.cells.response.between(0, 1).all()
    assert control.cells.response.nunique() > 1


def test_latrunculin_takes_cells_one_after_the_other() -> None:
    alive = [set(f.cells.label[f.cells.survives]) for f in (field_at("latrunculin", d, n_cells=30) for d in DOSES)]
    for less, more in itertools.pairwise(alive):
        assert more <= less
    assert 0.3 * len(alive[0]) < len(alive[-1]) < 0.85 * len(alive[0])


def test_a_lost_cell_leaves_no_label_and_no_light() -> None:
    control, treated = field_at("latrunculin", 0.0), field_at("latrunculin", 1.0)
    lost = treated.cells[~treated.cells.survives & ~treated.cells.border]
    assert len(lost)
    assert not set(lost.label) & set(np.unique(treated.nuclei))
    for label in lost.label:
        mask = control.nuclei == label
        assert treated.image[0][mask].mean() < 0.3 * control.image[0][mask].mean()
    survivors = treated.cells.label[treated.cells.survives]
    for label in survivors:
        np.testing.assert_array_equal(control.nuclei == label, treated.nuclei == label)


@pytest.mark.parametrize("second", ["actin", "tubulin"])
def test_latrunculin_rounds_cells_and_takes_their_filaments(second: str) -> None:
    style = replace(STYLES["latrunculin"], second=second)
    fields = [simulate_field(style, 3, treatment="latrunculin", dose=d, shape=SHAPE) for d in DOSES]
    stay = fields[-1].cells.survives
    roundness = [f.cells.roundness[stay].mean() for f in fields]
    filaments = [f.cells.filament_light[stay].mean() for f in fields]
    sizes = [f.cells.cell_area[stay].mean() for f in fields]
    assert (np.diff(roundness) > 0).all()
    assert roundness[-1] > 0.85
    assert (np.diff(filaments) < 0).all()
    assert filaments[-1] < 0.15 * filaments[0]
    assert (np.diff(sizes) < 0).all()
    assert sizes[-1] < 0.7 * sizes[0]


def measured_ratio(field: SimulatedField) -> float:
    """Median over cells of the nuclear over the cytoplasmic reporter, as a user measures it in the pixels."""
    from scipy.ndimage import binary_dilation, binary_erosion

    reporter = field.image[1].astype(float) - CLEAR.offset - CLEAR.background * CLEAR.gain
    ratios = []
    for label in field.cells.label[~field.cells.border]:
        mask = field.nuclei == label
        ring = binary_dilation(mask, iterations=5) & ~binary_dilation(mask, iterations=2) & (field.nuclei == 0)
        ratios.append(reporter[binary_erosion(mask, iterations=2)].mean() / reporter[ring].mean())
    return float(np.median(ratios))


def test_translocation_raises_the_nuclear_ratio_in_truth_and_in_pixels() -> None:
    fields = [field_at("translocation", dose) for dose in DOSES]
    truth = np.array([f.cells.nuclear_ratio for f in fields])
    assert (np.diff(truth, axis=0) > 0).all()
    measured = [measured_ratio(f) for f in fields]
    assert (np.diff(measured) > 0).all()
    assert measured[0] < 0.8
    assert measured[-1] > 1.5


def test_translocation_keeps_the_amount_of_reporter() -> None:
    totals = [field_at("translocation", dose).image[1].astype(float) - CLEAR.offset for dose in (0.0, 1.0)]
    assert totals[1].sum() == pytest.approx(totals[0].sum(), rel=0.15)


def test_lrrk2_shortens_neurites_and_adds_puncta() -> None:
    fields = [field_at("lrrk2", dose) for dose in DOSES]
    length = np.array([f.cells.neurite_length for f in fields])
    assert (np.diff(length, axis=0) <= 0).all()
    assert length[-1].sum() < 0.65 * length[0].sum()
    puncta = [f.cells.puncta.sum() for f in fields]
    assert (np.diff(puncta) > 0).all()
    assert puncta[-1] > 1.2 * puncta[0]
    light = [f.image[1].mean() for f in fields]
    assert (np.diff(light) < 0).all()


def test_nocodazole_scatters_the_golgi() -> None:
    fields = [field_at("nocodazole", dose) for dose in DOSES]
    spread = [f.cells.golgi_spread.median() for f in fields]
    assert (np.diff(spread) > 0).all()
    assert spread[-1] > 1.8 * spread[0]
    # Scattered over the cell, its brightest pixels lose light.
    assert np.percentile(fields[-1].image[2], 99.5) < np.percentile(fields[0].image[2], 99.5)


def test_the_effect_grows_smoothly_with_the_dose() -> None:
    """A small step of dose is a small step of the image: no jump where cells or filaments go at once."""
    for treatment in ("translocation", "nocodazole", "lrrk2"):
        images = [field_at(treatment, dose).image.astype(float) for dose in (0.0, 0.5, 0.52, 1.0)]
        whole = np.abs(images[3] - images[0]).mean()
        assert 0 < np.abs(images[2] - images[1]).mean() < 0.2 * whole


def test_plate_effect_changes_gain_background_and_focus() -> None:
    style = replace(CLEAR, photons=1e9, read_noise=0.0)
    plain = simulate_field(style, 4, shape=SHAPE).image.astype(float) - style.offset
    gained = simulate_field(style, 4, shape=SHAPE, plate=PlateEffect(gain=(2.0, 1.0, 1.0))).image - style.offset
    floor = style.background * style.gain
    np.testing.assert_allclose(gained[0] - floor, 2 * (plain[0] - floor), atol=3)
    np.testing.assert_array_equal(gained[1], plain[1])
    lit = simulate_field(style, 4, shape=SHAPE, plate=PlateEffect(background=(1.0, 3.0, 1.0))).image - style.offset
    np.testing.assert_allclose(lit[1], plain[1] + 2 * floor, atol=3)
    blurred = simulate_field(style, 4, shape=SHAPE, plate=PlateEffect(focus=(0.0, 0.0, 3.0))).image - style.offset
    assert np.abs(np.diff(blurred[2])).max() < 0.5 * np.abs(np.diff(plain[2])).max()


def test_grey_levels_stay_below_the_ceiling() -> None:
    field = simulate_field(replace(CLEAR, gain=400.0, offset=4.0, ceiling=255), 1, shape=(96, 96))
    assert field.image.max() == 255


@pytest.mark.parametrize(
    ("style", "treatment", "dose", "words"),
    [
        (CLEAR, "aspirin", 1.0, "no treatment 'aspirin'.*latrunculin"),
        (CLEAR, "null", 1.5, "dose 1.5 is not between 0 and 1"),
        (CLEAR, "null", float("nan"), "not between 0 and 1"),
        (CLEAR, "translocation", 1.0, "needs reporter in the second channel"),
        (replace(CLEAR, organelle="puncta"), "nocodazole", 1.0, "needs golgi in the third channel"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence(
    style: Style, treatment: str, dose: float, words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        simulate_field(style, 0, treatment=treatment, dose=dose, shape=(64, 64))


def test_a_style_for_an_unknown_treatment_is_refused() -> None:
    with pytest.raises(ScreenError, match="no treatment 'aspirin'"):
        style_for("aspirin", 0)


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "screen"
    job = simulate_screen(
        out, "translocation", wells=8, cells=5, seed=2, doses=(0.5, 1.0), sites=2, plates=2, shape=(96, 112)
    )
    assert finish(job) == out
    return out


def test_a_screen_has_its_table_images_truth_and_labels(screen: Path) -> None:
    table = pd.read_csv(screen / "screen.csv")
    assert len(table) == 16
    for plate, rows in table.groupby("Metadata_Plate"):
        wells = rows.drop_duplicates("Metadata_Well")
        assert (wells.Metadata_Role == "negative control").sum() == 2, plate
        assert (wells.Metadata_Role == "treated").sum() == 2, plate
    control = table.Metadata_Role == "negative control"
    assert set(table.Metadata_Concentration[control]) == {0.0}
    assert set(table.Metadata_Compound[control]) == {"DMSO"}
    assert set(table.Metadata_Concentration[~control]) == {0.5, 1.0}
    assert not table.duplicated(["Metadata_Plate", "Metadata_Well", "Metadata_Site"]).any()
    for row in table.itertuples():
        for path in (row.Image, row.Truth):
            with tifffile.TiffFile(screen / path) as file:
                series = file.series[0]
                assert (series.axes, series.shape, series.dtype) == ("CYX", (3, 96, 112), np.uint16)
                assert 'Name="Reporter"' in file.ome_metadata
                assert 'PhysicalSizeX="' in file.ome_metadata
        assert tifffile.imread(screen / row.Labels).shape == (96, 112)
    assert (screen / "provenance.json").exists()


def test_the_truth_of_a_screen_is_the_same_cell_under_the_other_condition(screen: Path) -> None:
    table = pd.read_csv(screen / "screen.csv")
    cells = pd.read_csv(screen / "cells.csv").set_index(["field", "label"])
    truth = pd.read_csv(screen / "truth" / "cells.csv").set_index(["field", "label"])
    for row in table.itertuples():
        image, other = tifffile.imread(screen / row.Image), tifffile.imread(screen / row.Truth)
        np.testing.assert_array_equal(image[0], other[0])
        assert (image[1] != other[1]).any()
        key = Path(row.Labels).stem
        here, there = cells.loc[key].nuclear_ratio, truth.loc[key].nuclear_ratio
        is_control = row.Metadata_Role == "negative control"
        assert ((there > here) == is_control).all()


def test_the_same_seed_gives_the_same_screen(screen: Path, tmp_path: Path) -> None:
    again = finish(
        simulate_screen(
            tmp_path / "again",
            "translocation",
            wells=8,
            cells=5,
            seed=2,
            doses=(0.5, 1.0),
            sites=2,
            plates=2,
            shape=(96, 112),
        )
    )
    files = sorted(p.relative_to(screen) for p in screen.rglob("*.*") if p.name != "provenance.json")
    assert len(files) == 3 * 16 + 4
    for name in files:
        assert (screen / name).read_bytes() == (again / name).read_bytes(), name


def test_a_cancelled_screen_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "screen"
    with writing_output(out, SCREEN) as earlier:
        (earlier / "screen.csv").write_text("mine")
    job = simulate_screen(out, "null", wells=4, cells=3, shape=(64, 64))
    first = next(job)
    assert isinstance(first, Progress)
    assert first.total == 4
    next(job)
    job.close()
    assert [p.name for p in tmp_path.iterdir()] == ["screen"]
    assert (out / "screen.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wells": 1}, "too few for a control and a treated well"),
        ({"cells": 0}, "at least one plate, site and cell"),
        ({"doses": []}, "No dose"),
        ({"dose": 2.0}, "not between 0 and 1"),
        ({"shape": (8, 8)}, "too small"),
        ({"wells": 500}, "do not fit"),
        ({"style": replace(CLEAR, second="actin")}, "needs reporter"),
    ],
)
def test_a_screen_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        next(simulate_screen(tmp_path / "screen", "translocation", **options))
    assert not list(tmp_path.iterdir())


def test_a_screen_where_a_file_stands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "screen").write_text("a file")
    with pytest.raises(OutputError):
        finish(simulate_screen(tmp_path / "screen", "null", wells=2, cells=2, shape=(64, 64)))
    assert (tmp_path / "screen").read_text() == "a file"
