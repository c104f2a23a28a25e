"""Classes of cells on the command line: in profiles, on the map, and with a segmenter of another program."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from cli_run import run
from phenolens.annotation.annotations import Annotations
from phenolens.annotation.embedded_cells import EmbeddedCells
from phenolens.annotation.files import write_annotations
from phenolens.annotation.suggestions import suggest
from phenolens.profiling.tables.profile_files import read_profiles
from phenolens.runtime.progress import finish
from phenolens.screens.segmenters import segmenter_named
from phenolens.simulation import simulate_screen


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "screen"
    return finish(simulate_screen(folder, "translocation", wells=2, cells=6, seed=3, shape=(160, 160)))


def embed(screen, out, *more):
    return run("micon", "embed", "default", screen, "--out", out, "--device", "cpu", *more, "--json")


def test_profiles_carry_classes_and_the_map_is_coloured_by_them(screen, tmp_path):
    labels = ("--cells", screen / "labels")
    assert embed(screen, tmp_path / "plain.parquet", *labels).status == 0
    plain = read_profiles(tmp_path / "plain.parquet")
    made = Annotations()
    for name, well in (("control", "A01"), ("moved", "A02")):
        made.add_class(name)
        rows = plain.metadata[plain.metadata["Metadata_Well"] == well][:2]
        made.annotate(zip(rows["Metadata_Field"], rows["Metadata_Label"], strict=True), name)
    made.suggest(suggest(EmbeddedCells.of_profiles(plain.metadata, plain.vectors), made).suggested)
    file = write_annotations(made, tmp_path / "notes.parquet")

    ran = embed(screen, tmp_path / "cells.parquet", *labels, "--annotations", file)
    assert ran.status == 0
    cells = read_profiles(tmp_path / "cells.parquet")
    assert np.array_equal(cells.vectors, plain.vectors)
    assert cells.column("Class").value_counts().to_dict() == {"control": 2, "moved": 2}
    assert cells.column("SuggestedClass").notna().sum() == len(cells) - 4
    assert cells.column("SuggestedProbability").dropna().between(0.5, 1).all()
    mapped = run("micon", "map", tmp_path / "cells.parquet", "--colour", "Metadata_Class", "--out", tmp_path / "atlas")
    assert mapped.status == 0


def test_a_mean_of_cells_has_the_class_that_all_of_them_have(screen, tmp_path):
    made = Annotations()
    made.add_class("odd")
    assert embed(screen, tmp_path / "plain.parquet", "--cells", screen / "labels").status == 0
    metadata = read_profiles(tmp_path / "plain.parquet").metadata
    made.annotate(zip(metadata["Metadata_Field"], metadata["Metadata_Label"], strict=True), "odd")
    file = write_annotations(made, tmp_path / "notes.csv")
    wells = ("--cells", screen / "labels", "--level", "well")
    assert embed(screen, tmp_path / "wells.parquet", *wells, "--annotations", file).status == 0
    assert read_profiles(tmp_path / "wells.parquet").column("Class").tolist() == ["odd", "odd"]


def test_a_broken_file_is_refused_before_the_work(screen, tmp_path):
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    ran = embed(screen, tmp_path / "x.parquet", "--annotations", tmp_path / "notes.csv")
    assert ran.status == 2
    assert not (tmp_path / "x.parquet").exists()


def test_cells_can_be_found_by_another_program(screen, tmp_path, monkeypatch):
    def outlined(pixels, **_):
        made = np.zeros(pixels.shape, np.uint16)
        made[40:60, 40:60], made[90:110, 90:110] = 1, 2
        return made, [], []

    module = ModuleType("cellpose")
    module.models = SimpleNamespace(CellposeModel=lambda **_: SimpleNamespace(eval=outlined))  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="cellpose")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "cellpose", module)
    segmenter_named("cellpose")._loaded.clear()  # type: ignore[attr-defined]
    ran = embed(screen, tmp_path / "cells.parquet", "--cells", "cellpose")
    segmenter_named("cellpose")._loaded.clear()  # type: ignore[attr-defined]
    assert ran.status == 0
    assert ran.facts["rows"] == 4
    assert read_profiles(tmp_path / "cells.parquet").column("Y").tolist() == [49.5, 99.5] * 2
