"""Simulated compounds: mechanisms that show, structures that tell them, screens in batches."""

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cli_run import run
from phenolens.profiling.molecules.molecules import fingerprints, murcko_scaffold, nearest, read_molecules
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.output_kinds import SCREEN
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import finish
from phenolens.screens.table import read_screen
from phenolens.simulation import (
    MECHANISMS,
    Effect,
    SimulatedField,
    Style,
    compound_library,
    compound_style,
    simulate_compound_screen,
    simulate_field,
)
from phenolens.simulation.batches import random_batch
from phenolens.simulation.compounds import DMSO, LARGEST
from phenolens.simulation.mechanisms import NO_EFFECT
from phenolens.simulation.treatments import UNTREATED

SHAPE = (192, 192)
SIZE = {"compounds": 6, "wells": 1, "control_wells": 2, "cells": 4, "shape": (96, 112), "seed": 3}

# Clean images of cells that stand apart, in which an effect can be measured in the pixels themselves.
CLEAR = Style(
    nucleus_radius=11,
    clustering=0.0,
    photons=20000,
    read_noise=0.5,
    glow=0.0,
    psf=0.7,
    shading=0.0,
    debris=0.0,
    mitotic=0.0,
    brightness_spread=(0.1, 0.1, 0.1),
    response_spread=0.0,
)


def field_under(effect: Effect, second: str = "actin", seed: int = 3) -> SimulatedField:
    return simulate_field(replace(CLEAR, second=second), seed, shape=SHAPE, n_cells=8, effect=effect)


# What was drawn before there were mechanisms: sums of grey levels, plain and weighted by place, and of labels.
DRAWN_BEFORE = [
    ("actin", "latrunculin", 9123871, 485261739, 491),
    ("tubulin", "latrunculin", 9252946, 492295058, 491),
    ("reporter", "translocation", 17086091, 739858603, 1925),
    ("neurites", "lrrk2", 19009213, 828038057, 1925),
    ("actin", "nocodazole", 17196086, 758015551, 1925),
]


@pytest.mark.parametrize(("second", "treatment", "light", "weighted", "labels"), DRAWN_BEFORE)
def test_fields_without_a_mechanism_are_what_they_were(
    second: str, treatment: str, light: int, weighted: int, labels: int
) -> None:
    style = Style(second=second, organelle="puncta" if treatment == "lrrk2" else "golgi")
    field = simulate_field(style, 3, treatment=treatment, dose=0.7, shape=(96, 96))
    ramp = np.arange(field.image.size).reshape(field.image.shape) % 97
    # Another processor may round a few pixels otherwise; anything more is a change.
    assert field.image.sum(dtype=np.int64) == pytest.approx(light, rel=1e-6)
    assert (field.image * ramp).sum(dtype=np.int64) == pytest.approx(weighted, rel=1e-6)
    assert field.nuclei.sum() == labels


@pytest.mark.parametrize("second", ["actin", "tubulin"])
def test_no_effect_is_no_change(second: str) -> None:
    plain = simulate_field(replace(CLEAR, second=second), 3, shape=SHAPE, n_cells=8)
    for effect in (NO_EFFECT, MECHANISMS["elongation"].scaled(0.0), DMSO.effect(10.0)):
        field = field_under(effect, second)
        np.testing.assert_array_equal(field.image, plain.image)
        np.testing.assert_array_equal(field.nuclei, plain.nuclei)
        assert set(field.states) == {UNTREATED}


@pytest.mark.parametrize("second", ["actin", "tubulin"])
@pytest.mark.parametrize(
    ("mechanism", "untouched"),
    [
        ("filament loss", (0,)),
        ("filament bundling", (0,)),
        ("Golgi scatter", (0, 1)),
        ("nuclear swelling", ()),
        ("chromatin condensation", ()),
        ("elongation", ()),
    ],
)
def test_a_mechanism_shows_where_it_acts_and_grows_with_its_amount(
    mechanism: str, untouched: tuple[int, ...], second: str
) -> None:
    assert len(MECHANISMS) == 6
    effect = replace(MECHANISMS[mechanism], lost=0.0)
    images = [field_under(effect.scaled(amount), second).image.astype(float) for amount in (0, 0.3, 0.32, 1)]
    for channel in range(3):
        if channel in untouched:
            np.testing.assert_array_equal(images[3][channel], images[0][channel])
    slightly, step, whole = (np.abs(images[b] - images[a]).mean() for a, b in ((0, 1), (1, 2), (0, 3)))
    assert 0 < slightly < whole
    assert step < 0.25 * whole
    # Not by light alone: the cells' light moves less than the light of one batch against another's.
    light = [[image[c].mean() - CLEAR.offset for c in range(3)] for image in images]
    assert np.abs(np.log(np.divide(light[3], light[0]))).max() < 0.4


def test_swelling_makes_nuclei_larger_and_dimmer_and_keeps_them_in_their_cells() -> None:
    fields = [field_under(Effect({"nuclear_swelling": amount})) for amount in (-1.0, 0.0, 0.6, 1.0)]
    inner = ~fields[-1].cells.border
    areas = np.array([f.cells.nucleus_area[inner] for f in fields])
    assert (np.diff(areas, axis=0) > 0).all()
    assert areas[-1].mean() > 1.35 * areas[1].mean()
    means = [f.image[0][f.nuclei > 0].mean() for f in fields]
    assert (np.diff(means) < 0).all()
    for field in fields:
        assert (field.cells.cell_area > field.cells.nucleus_area).all()
        for cell in field.cells[~field.cells.border].itertuples():
            assert field.nuclei[cell.y, cell.x] == cell.label
            assert (field.nuclei == cell.label).sum() == cell.nucleus_area


def test_swollen_nuclei_that_touch_share_no_pixel() -> None:
    crowded = replace(CLEAR, clustering=0.9, cell_ratio=1.5)
    field = simulate_field(crowded, 5, shape=SHAPE, n_cells=25, effect=Effect({"nuclear_swelling": 1.0}))
    drawn = np.bincount(field.nuclei.ravel(), minlength=field.cells.label.max() + 1)[field.cells.label]
    np.testing.assert_array_equal(drawn, field.cells.nucleus_area)


def test_condensation_gathers_dna_and_keeps_its_amount() -> None:
    control, treated = field_under(NO_EFFECT), field_under(Effect({"chromatin_clumping": 1.0}))
    np.testing.assert_array_equal(control.nuclei, treated.nuclei)
    dna = [f.image[0].astype(float) - CLEAR.offset for f in (control, treated)]
    for label in control.cells.label[~control.cells.border]:
        mask = control.nuclei == label
        assert dna[1][mask].sum() == pytest.approx(dna[0][mask].sum(), rel=0.04)
        assert dna[1][mask].std() > 1.4 * dna[0][mask].std()


def test_elongation_stretches_cells_and_keeps_their_area() -> None:
    control, treated = field_under(NO_EFFECT), field_under(Effect({"elongation": 1.0}))
    assert (treated.cells.roundness < control.cells.roundness).mean() > 0.8
    assert treated.cells.roundness.mean() < control.cells.roundness.mean() - 0.08
    assert treated.cells.cell_area.mean() == pytest.approx(control.cells.cell_area.mean(), rel=0.2)
    assert treated.cells.nucleus_area.sum() == pytest.approx(control.cells.nucleus_area.sum(), rel=0.05)


@pytest.mark.parametrize("second", ["actin", "tubulin"])
def test_bundling_gathers_the_light_of_the_filaments(second: str) -> None:
    control, treated = (field_under(effect, second) for effect in (NO_EFFECT, Effect({"bundling": 1.0})))
    light = [f.image[1].astype(float) - CLEAR.offset for f in (control, treated)]
    assert light[1].sum() == pytest.approx(light[0].sum(), rel=0.1)
    # Few thick bundles and more empty space between them, though each fibre's light is drawn wider.
    assert light[1].std() > 1.04 * light[0].std()


def test_effects_add_up_to_full_at_most_and_take_cells() -> None:
    both = Effect({"rounding": 0.7}, lost=0.5).plus(Effect({"rounding": 0.6, "nuclear_swelling": -0.3}, lost=0.5))
    assert both.lost == pytest.approx(0.75)
    state = both.state(response=1.0, survival=0.9)
    assert state.survives
    assert (state.rounding, state.nuclear_swelling) == (1.0, -0.3)
    assert not both.state(1.0, 0.7).survives
    assert both.scaled(0.5).state(0.5, 0.9).nuclear_swelling == pytest.approx(-0.075)


def test_a_treatment_and_an_effect_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        simulate_field(CLEAR, 0, treatment="null", effect=NO_EFFECT, shape=SHAPE)


def test_the_library_has_two_scaffolds_a_mechanism_and_weak_and_inactive_compounds() -> None:
    library = compound_library(24)
    assert [one.mechanism for one in library[:6]] == list(MECHANISMS)
    table = pd.DataFrame([asdict(one) | {"active": one.active} for one in library])
    assert (table.groupby("mechanism").size() == 4).all()
    assert (table.groupby("mechanism").scaffold.nunique() == 2).all()
    assert (table.groupby("scaffold").mechanism.nunique() == 2).all()
    assert 2 <= (~table.active).sum() <= 4
    # Pairs of strong compounds of one mechanism with different scaffolds, which a split by scaffold parts.
    strong = table[table.half_effect <= 4]
    assert (strong.groupby("mechanism").scaffold.nunique() == 2).all()
    assert (table.half_effect.between(8, 1000)).sum() >= 4
    assert compound_library(48)[:24] == library
    inactive = [one for one in library if not one.active]
    assert all("C(=O)O)" in one.smiles and one.effect(1e6) == NO_EFFECT for one in inactive)


def test_structures_tell_the_mechanism_but_the_nearest_one_often_lies() -> None:
    library = compound_library(48)
    smiles = [one.smiles for one in (*library, DMSO)]
    assert len({molecule.key for molecule in read_molecules(smiles)}) == 49
    assert len({murcko_scaffold(one.smiles) for one in library}) == 6
    counts = fingerprints(smiles[:24])
    mechanisms = [one.mechanism for one in library[:24]]
    others = [np.delete(np.arange(24), row) for row in range(24)]
    found = [others[row][nearest(counts[others[row]], counts[row])[0]] for row in range(24)]
    right = np.mean([mechanisms[row] == mechanisms[other] for row, other in enumerate(found)])
    assert 0.5 <= right <= 0.75
    # What tells it is there: atoms that only the compounds of one mechanism have.
    for mechanism in MECHANISMS:
        own = np.array([one == mechanism for one in mechanisms])
        assert ((counts[own] > 0).all(0) & ~(counts[~own] > 0).any(0)).any(), mechanism


def test_effects_rise_with_the_concentration_and_stop_at_full() -> None:
    compound = compound_library(1)[0]
    amounts = [compound.effect(c).changes["rounding"] for c in (0.1, compound.half_effect, 10.0, 1e6)]
    assert (np.diff(amounts) > 0).all()
    assert amounts[1] == pytest.approx(amounts[3] / 2, rel=1e-3)
    assert compound.effect(0.0) == NO_EFFECT


@pytest.mark.parametrize("count", [0, LARGEST + 1])
def test_a_library_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(ScreenError, match=f"ask for 1 to {LARGEST}"):
        compound_library(count)


def test_batches_move_brightness_more_than_compounds_do() -> None:
    style = compound_style(4)
    assert random_batch(style, 0.0, 1).style == style
    gains = np.log([random_batch(style, 1.0, seed).plate.gain for seed in range(40)])
    assert gains.std() > 0.25
    treated = [simulate_field(style, 1, shape=SHAPE, effect=one).image[:, :, :] for one in MECHANISMS.values()]
    light = np.log([[channel.mean() - style.offset for channel in image] for image in treated])
    assert gains.std() > 2 * light.std(0).mean()


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compounds") / "screen"
    job = simulate_compound_screen(out, batches=2, plates_per_batch=2, concentrations=(1.0, 10.0), **SIZE)
    assert finish(job) == out
    return out


def test_a_screen_has_its_table_images_labels_and_truth(screen: Path) -> None:
    table = pd.read_csv(screen / "screen.csv")
    assert len(table) == 4 * (6 * 2 + 2)
    assert table.Metadata_Batch.unique().tolist() == ["batch1", "batch2"]
    assert (table.groupby("Metadata_Batch").Metadata_Plate.nunique() == 2).all()
    assert not table.duplicated(["Metadata_Plate", "Metadata_Well", "Metadata_Site"]).any()
    control = table.Metadata_Role == "negative control"
    assert (table[control].groupby("Metadata_Plate").size() == 2).all()
    assert set(table.Metadata_SMILES[control]) == {"CS(C)=O"}
    assert set(table.Metadata_Compound[control]) == {"DMSO"}
    assert set(table.Metadata_Mechanism[control]) == {"none"}
    assert set(table.Metadata_Concentration[control]) == {0.0}
    assert not table.Metadata_Active[control].any()
    treated = table[~control]
    assert (treated.groupby(["Metadata_Plate", "Metadata_Compound", "Metadata_Concentration"]).size() == 1).all()
    assert treated.groupby("Metadata_Compound").Metadata_SMILES.nunique().eq(1).all()
    # Every plate is laid out anew.
    first, second = (table[table.Metadata_Plate == plate] for plate in table.Metadata_Plate.unique()[:2])
    places = ["Metadata_Well", "Metadata_Compound", "Metadata_Concentration"]
    assert first[places].values.tolist() != second[places].values.tolist()
    for row in table.itertuples():
        image, labels = tifffile.imread(screen / row.Image), tifffile.imread(screen / row.Labels)
        assert (image.shape, image.dtype) == ((3, 96, 112), np.uint16)
        assert labels.shape == (96, 112)
        assert (image == 65535).mean() < 1e-4
    assert len(read_screen(screen / "screen.csv")) == len(table)


def test_the_state_of_each_cell_is_that_of_its_compound_at_its_concentration(screen: Path) -> None:
    table = pd.read_csv(screen / "screen.csv")
    table["field"] = [Path(image).name.removesuffix(".ome.tif") for image in table.Image]
    known = pd.read_csv(screen / "compounds.csv").set_index("Metadata_Compound")
    cells = pd.read_csv(screen / "cells.csv").merge(table, on="field")
    states = [name for name in cells if name.startswith("state_")]
    assert not cells.loc[cells.Metadata_Compound == "DMSO", states].any(axis=None)
    library = {one.name: one for one in compound_library(6)}
    for (name, amount), rows in cells[cells.Metadata_Role == "treated"].groupby(
        ["Metadata_Compound", "Metadata_Concentration"]
    ):
        changes = library[name].effect(amount).changes
        moved = rows[states].abs().mean()
        assert set(moved.index[moved > 0]) == {f"state_{one}" for one in changes}
        for one, change in changes.items():
            # The dispensed amount and the response of each cell vary.
            assert 0.3 * abs(change) < moved[f"state_{one}"] < 1.2 * abs(change)
    assert set(known.index) == set(library)
    assert known.state_bundling["SIM-0002"] == pytest.approx(library["SIM-0002"].effect(10.0).changes["bundling"])


def test_the_same_seed_gives_the_same_screen_in_any_number_of_processes(screen: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    finish(simulate_compound_screen(again, batches=2, plates_per_batch=2, concentrations=(1, 10), workers=2, **SIZE))
    files = sorted(p.relative_to(screen) for p in screen.rglob("*.*") if p.name != "provenance.json")
    assert len(files) == 2 * 56 + 4
    for name in files:
        assert (screen / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancelled_screen_leaves_what_was_there(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "screen"
    with writing_output(out, SCREEN) as earlier:
        (earlier / "screen.csv").write_text("mine")
    job = simulate_compound_screen(out, batches=1, workers=workers, **SIZE)
    steps = [next(job) for _ in range(3)]
    assert all(a.step < b.step <= b.total == 8 for a, b in pairwise(steps))
    job.close()
    assert [p.name for p in tmp_path.iterdir()] == ["screen"]
    assert (out / "screen.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compounds": 0}, "no 0 compounds"),
        ({"batches": 0}, "at least one batch: not 0"),
        ({"control_wells": 0}, "at least one control well"),
        ({"workers": 0}, "at least one process"),
        ({"wells": 40}, "968 wells do not fit"),
        ({"concentrations": ()}, "one or more numbers above 0"),
        ({"concentrations": (0.0,)}, "one or more numbers above 0"),
        ({"concentrations": (5.0, 5)}, "given twice"),
        ({"batch_strength": -1.0}, "not between 0 and 3"),
        ({"batch_strength": float("nan")}, "not between 0 and 3"),
        ({"shape": (8, 8)}, "too small"),
        ({"style": replace(CLEAR, second="reporter")}, "shows reporter and golgi: draw a style with compound_style"),
        ({"style": replace(CLEAR, organelle="puncta")}, "shows actin and puncta"),
    ],
)
def test_a_screen_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ScreenError, match=words):
        next(simulate_compound_screen(tmp_path / "screen", **options))
    assert not list(tmp_path.iterdir())


def test_the_command_simulates_compounds(tmp_path: Path) -> None:
    size = ("--compounds", "2", "--batches", "2", "--wells", "1", "--control-wells", "1", "--cells", "3", "--seed", "5")
    ran = run("simulate", *size, "--out", tmp_path / "s", "--json")
    assert ran.status == 0
    assert (ran.facts["compounds"], ran.facts["batches"]) == (2, 2)
    table = pd.read_csv(ran.facts["screen"])
    assert table.groupby("Metadata_Batch").size().tolist() == [3, 3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --treatment NAME or --compounds N"),
        (("--treatment", "null", "--compounds", "3"), "give one of them"),
        (("--treatment", "null", "--batches", "2"), "--batches can only be given with --compounds"),
        (("--compounds", "0"), "ask for 1 to"),
        (("--compounds", "3", "--wells", "0"), "at least one well"),
    ],
)
def test_the_command_says_what_to_give(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    ran = run("simulate", *options, "--out", tmp_path / "s")
    assert ran.status == 2
    assert words in ran.error
    assert not list(tmp_path.iterdir())
