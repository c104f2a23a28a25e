"""Profiles as files: exact round trips, files of other programs, and what is said of unusable ones."""

import gzip
import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenolens.profiling.tables.profile_files import read_profiles, write_anndata, write_profiles
from phenolens.profiling.tables.profiles import Profiles
from phenolens.runtime.errors import OutputError, ScreenError

SPECIAL = np.array([0.0, -0.0, 1e-45, 3.4028235e38, 0.1, -1 / 3], np.float32)


def some_profiles(rows: int = 6) -> Profiles:
    table = pd.DataFrame(
        {
            "Metadata_Plate": ["0012"] * rows,
            "Metadata_Well": [f"A{number:02d}" for number in range(rows)],
            "Metadata_Compound": (["null", "NA", None, "1,2-diol", 'a "b"', "é"] * rows)[:rows],
            "Metadata_Concentration": ([0.1, np.nan, 1 / 3] * rows)[:rows],
            "Metadata_Label": range(rows),
            "Metadata_Y": np.linspace(0, 7, rows),
        }
    )
    vectors = np.random.default_rng(0).normal(size=(rows, 12)).astype(np.float32)
    vectors[:6, 3] = SPECIAL
    return Profiles(table, vectors, {"level": "cell", "channel_names": ["DNA", "Actin"], "dimension": np.int64(12)})


def assert_same(read: Profiles, written: Profiles) -> None:
    np.testing.assert_array_equal(read.vectors.view(np.uint32), written.vectors.view(np.uint32))
    pd.testing.assert_frame_equal(read.metadata, written.metadata, check_dtype=False)
    assert read.card == written.card


def test_parquet_gives_every_bit_back(tmp_path: Path) -> None:
    written = some_profiles()
    assert_same(read_profiles(write_profiles(written, tmp_path / "p.parquet")), written)


def test_parquet_of_more_rows_than_are_held_at_once(tmp_path: Path) -> None:
    written = some_profiles((1 << 16) + 5)
    read = read_profiles(write_profiles(written, tmp_path / "p.parquet"))
    np.testing.assert_array_equal(read.vectors.view(np.uint32), written.vectors.view(np.uint32))
    assert read.metadata["Metadata_Label"].tolist() == list(range(len(written)))


def test_other_programs_see_embeddings_in_the_parquet(tmp_path: Path) -> None:
    table = pd.read_parquet(write_profiles(some_profiles(), tmp_path / "p.parquet"))
    assert [name for name in table if name.startswith("emb_")] == [f"emb_{number:04d}" for number in range(12)]
    assert table["emb_0003"].dtype == np.float32


def test_anndata_gives_every_bit_back_and_anndata_reads_it(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    written = some_profiles()
    map_ = np.arange(12).reshape(6, 2)
    path = write_anndata(written, tmp_path / "p.h5ad", map_)
    assert_same(read_profiles(path), written)
    seen = anndata.read_h5ad(path)
    np.testing.assert_array_equal(seen.X, written.vectors)
    np.testing.assert_array_equal(seen.obsm["X_map"], map_)
    assert list(seen.obs.columns) == list(written.metadata.columns)
    assert seen.obs["Metadata_Compound"].astype(object).where(seen.obs["Metadata_Compound"].notna(), None).tolist() == [
        "null", "NA", None, "1,2-diol", 'a "b"', "é",
    ]  # fmt: skip
    assert seen.obs["Metadata_Label"].tolist() == list(range(6))


@pytest.mark.parametrize("kind", ["dense", "csr", "csc"])
def test_anndata_of_others_is_read(tmp_path: Path, kind: str) -> None:
    anndata = pytest.importorskip("anndata")
    from scipy import sparse

    dense = np.array([[0, 1.5, 3], [2, 0, 3], [0, 0, 3]], np.float32)
    values = {"dense": lambda x: x, "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[kind](dense)
    plate = pd.Categorical.from_codes([0, 1, 0], pd.Index(["a", "b"], dtype=object))
    made = anndata.AnnData(X=values, obsm={"spatial": np.arange(6.0).reshape(3, 2)})
    # as objects: anndata for Python 3.11 cannot write the text of pandas 3
    made.obs_names, made.var_names = (
        pd.Index(names, dtype=object) for names in (list("uvw"), ["area", "texture", "still"])
    )
    made.obs["plate"], made.obs["n"] = plate, [1, 2, 3]
    made.write_h5ad(tmp_path / "o.h5ad")
    read = read_profiles(tmp_path / "o.h5ad")
    np.testing.assert_array_equal(read.vectors, dense[:, :2])
    assert read.card["dropped_columns"] == ["still"]
    assert read.card["features"] == ["area", "texture"]
    assert read.metadata["Metadata_Plate"].tolist() == ["a", "b", "a"]
    assert read.metadata["Metadata_ObsName"].tolist() == ["u", "v", "w"]
    assert read.metadata["Metadata_X"].tolist() == [0, 2, 4]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv"])
def test_csv_with_embeddings(tmp_path: Path, ending: str) -> None:
    written = some_profiles()
    features = pd.DataFrame(written.vectors.astype(float), columns=[f"emb_{number}" for number in range(12)])
    shuffled = features.iloc[:, ::-1]  # emb_10 comes after emb_9, whatever stands first
    path = tmp_path / f"p.{ending}"
    pd.concat([shuffled, written.metadata], axis=1).to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    read = read_profiles(path)
    np.testing.assert_array_equal(read.vectors.view(np.uint32), written.vectors.view(np.uint32))
    assert read.metadata["Metadata_Plate"].tolist() == ["0012"] * 6
    assert read.metadata["Metadata_Compound"].tolist()[:2] == ["null", "NA"]
    assert read.metadata["Metadata_Concentration"].dtype == float
    assert read.level == "cell"


def cellprofiler_table(rows: int = 8) -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "ImageNumber": 3,
            "ObjectNumber": range(rows),
            "Image_Metadata_Plate": "P1",
            "Metadata_Well": [f"B{number % 2}" for number in range(rows)],
            "Metadata_Concentration": 0.5,
            "Cells_AreaShape_Area": random.normal(size=rows),
            "Cells_AreaShape_Center_X": random.normal(size=rows),
            "Cells_AreaShape_BoundingBoxMinimum_Y": random.normal(size=rows),
            "Cells_Location_CenterMassIntensity_X_DNA": random.normal(size=rows),
            "Cells_Parent_Nuclei": range(rows),
            "Cells_Number_Object_Number": range(rows),
            "Nuclei_Neighbors_FirstClosestObjectNumber_10": range(rows),
            "Nuclei_Texture_Entropy_DNA_3_00_256": random.integers(0, 9, rows) / 2,
            "Cells_Children_Spots_Count": 1,
            "FileName_DNA": "a.tif",
            "x": random.normal(size=rows),
        }
    )


def test_places_and_numbers_of_objects_are_never_features(tmp_path: Path) -> None:
    table = cellprofiler_table()
    table.to_parquet(tmp_path / "c.parquet")
    read = read_profiles(tmp_path / "c.parquet")
    assert read.card["features"] == ["Cells_AreaShape_Area", "Nuclei_Texture_Entropy_DNA_3_00_256"]
    assert read.card["dropped_columns"] == ["Cells_Children_Spots_Count"]
    np.testing.assert_array_equal(read.vectors, table[read.card["features"]].to_numpy(np.float32))
    assert {"Metadata_Plate", "Metadata_X", "Metadata_Label", "Metadata_Cells_Parent_Nuclei"} <= set(read.metadata)
    assert read.metadata.shape[1] == table.shape[1] - 3
    assert read.level == "cell"


def test_a_feature_table_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    cellprofiler_table().to_csv(tmp_path / "c.csv", index=False)
    first = read_profiles(tmp_path / "c.csv")
    assert_same(read_profiles(write_profiles(first, tmp_path / "c.parquet")), first)


@pytest.mark.parametrize(
    "name",
    [
        "bbox-0",
        "centroid-1",
        "Unnamed: 0",
        "parent_id",
        "track_id",
        "position_x",
        "y_px",
        "Nuclei_Parent_Cells",
        "label",
    ],
)
def test_names_that_say_which_or_where(tmp_path: Path, name: str) -> None:
    pd.DataFrame({name: [1.5, 2.5], "area": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    assert read_profiles(tmp_path / "t.csv").card["features"] == ["area"]


@pytest.mark.parametrize(
    "name", ["area", "x_height_ratio", "Nuclei_Granularity_1_DNA", "efficientnet_12", "mean_index_of", "0"]
)
def test_names_of_features(tmp_path: Path, name: str) -> None:
    pd.DataFrame({name: [1.5, 2.5], "Metadata_Well": ["A", "B"]}).to_csv(tmp_path / "t.csv", index=False)
    read = read_profiles(tmp_path / "t.csv")
    assert read.card["features"] == [name]
    assert read.level == "well"


def test_incomplete_rows_are_refused_by_column_and_number_or_left_out(tmp_path: Path) -> None:
    table = cellprofiler_table()
    table["Cells_AreaShape_Area"] = table["Cells_AreaShape_Area"].where(table.index < 5)
    table.loc[0, "Nuclei_Texture_Entropy_DNA_3_00_256"] = np.inf
    table["empty"] = np.nan
    table.to_parquet(tmp_path / "c.parquet")
    said = "4 of 8 rows are incomplete; column 'Cells_AreaShape_Area' has no finite number in 3"
    with pytest.raises(ScreenError, match=said):
        read_profiles(tmp_path / "c.parquet")
    read = read_profiles(tmp_path / "c.parquet", leave_out_incomplete=True)
    assert read.metadata["Metadata_Label"].tolist() == [1, 2, 3, 4]
    assert read.card["left_out_rows"] == 4
    assert "empty" in read.card["dropped_columns"]


def test_an_embedding_column_is_never_dropped(tmp_path: Path) -> None:
    pd.DataFrame({"emb_0": [1.0, 1.0], "emb_1": [2.0, 3.0]}).to_parquet(tmp_path / "p.parquet")
    assert read_profiles(tmp_path / "p.parquet").vectors.shape == (2, 2)
    pd.DataFrame({"emb_0": [1.0, None], "emb_1": [2.0, 3.0]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ScreenError, match=r"1 of 2 rows are incomplete; column 'emb_0'"):
        read_profiles(tmp_path / "p.parquet")


def test_numbers_too_large_for_float32_are_not_infinite_features(tmp_path: Path) -> None:
    pd.DataFrame({"area": [1e300, 1.0, 2.0]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ScreenError, match="'area' has no finite number in 1"):
        read_profiles(tmp_path / "p.parquet")


def test_numbers_beside_text_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"area": ["1", "2", "?", "4"], "b": [1, 2, 3, 4]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ScreenError, match=r"'area' mixes numbers and text, '\?' in row 3 and 1 such"):
        read_profiles(tmp_path / "t.csv")


def test_repeated_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("area,area,b\n1,2,3\n4,5,6\n")
    with pytest.raises(ScreenError, match="2 columns 'area'"):
        read_profiles(tmp_path / "t.csv")
    pq.write_table(pa.table([pa.array([1.0]), pa.array([2.0])], names=["emb_0", "emb_0"]), tmp_path / "t.parquet")
    with pytest.raises(ScreenError, match="2 columns 'emb_0'"):
        read_profiles(tmp_path / "t.parquet")


def test_two_names_for_one_column_are_named(tmp_path: Path) -> None:
    pd.DataFrame({"Plate": ["a"], "Metadata_Plate": ["b"], "area": [1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ScreenError, match="would both become Metadata_Plate"):
        read_profiles(tmp_path / "t.csv")


def test_a_table_without_features_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"Metadata_Well": ["A"], "x": [1], "name": ["a"]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ScreenError, match=r"no columns of features.*Metadata_Well, x, name"):
        read_profiles(tmp_path / "t.csv")
    pd.DataFrame({"area": [1, 1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ScreenError, match="none of the 1 columns"):
        read_profiles(tmp_path / "t.csv")


def test_tables_without_rows_are_refused(tmp_path: Path) -> None:
    for columns in (["emb_0"], ["area"]):
        pd.DataFrame({name: pd.Series(dtype=float) for name in columns}).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(ScreenError, match="has no rows"):
            read_profiles(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("emb_0,emb_1\n")
    with pytest.raises(ScreenError, match="has no rows"):
        read_profiles(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["p.parquet", "p.csv", "p.csv.gz", "p.h5ad", "p.npz"])
def test_broken_and_empty_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ScreenError, match="There is no file"):
        read_profiles(path)
    path.touch()
    with pytest.raises(ScreenError, match="is empty"):
        read_profiles(path)
    whole = tmp_path / f"whole.{name}"
    profiles = some_profiles()
    if name == "p.parquet":
        write_profiles(profiles, whole)
    elif name == "p.h5ad":
        write_anndata(profiles, whole)
    elif name == "p.npz":
        np.savez(whole, features=profiles.vectors)
    else:
        text = pd.DataFrame(profiles.vectors).to_csv(index=False).encode()
        whole.write_bytes(gzip.compress(text) if name.endswith("gz") else text[:30] + b"\xff\xfe\x00" + text[30:])
    data = whole.read_bytes()
    path.write_bytes(data if name == "p.csv" else data[: len(data) // 2])
    with pytest.raises(ScreenError, match=re.escape(str(path))):
        read_profiles(path)


def test_a_name_that_does_not_fit_is_told(tmp_path: Path) -> None:
    path = write_profiles(some_profiles(), tmp_path / "p.parquet")
    os.rename(path, tmp_path / "p.csv")
    with pytest.raises(ScreenError, match="should be CSV by its name but holds Parquet"):
        read_profiles(tmp_path / "p.csv")
    (tmp_path / "t.parquet").write_text("emb_0\n1\n")
    with pytest.raises(ScreenError, match="should be Parquet"):
        read_profiles(tmp_path / "t.parquet")
    (tmp_path / "t.xlsx").write_text("emb_0\n1\n")
    with pytest.raises(ScreenError, match=r"read from \.parquet"):
        read_profiles(tmp_path / "t.xlsx")
    for write, name in ((write_profiles, "p.csv"), (write_anndata, "p.parquet")):
        with pytest.raises(OutputError, match="call it"):
            write(some_profiles(), tmp_path / name)


def test_columns_of_mixed_kinds_are_written_as_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"Metadata_A": ["a", 1, None, 2.5]})
    made = Profiles(table, np.ones((4, 2), np.float32), {"level": "well"})
    for path in (write_profiles(made, tmp_path / "p.parquet"), write_anndata(made, tmp_path / "p.h5ad")):
        column = read_profiles(path).metadata["Metadata_A"]
        assert column.isna().tolist() == [False, False, True, False]
        assert column.dropna().tolist() == ["a", "1", "2.5"]


def test_coordinates_need_a_row_for_each_profile(tmp_path: Path) -> None:
    with pytest.raises(ScreenError, match="6 profiles"):
        write_anndata(some_profiles(), tmp_path / "p.h5ad", np.zeros((5, 2)))
    assert not list(tmp_path.iterdir())


def deepprofiler_file(path: Path, cells: int = 3, **arrays: object) -> Path:
    """An archive as DeepProfiler 0.3 writes it: the metadata is a pickled dictionary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = np.random.default_rng(cells).normal(size=(cells, 4)).astype(np.float32)
    np.savez_compressed(path, **{"features": features, **arrays})
    return path


def test_deepprofiler_metadata_and_places(tmp_path: Path) -> None:
    metadata = {"Metadata_Plate": "P7", "Metadata_Well": "C03", "Metadata_Site": np.int64(4), "DNA": "a.tif"}
    path = deepprofiler_file(tmp_path / "f.npz", metadata=metadata, locations=np.array([[1, 2], [3, 4], [5, 6]]))
    read = read_profiles(path)
    np.testing.assert_array_equal(read.vectors, np.load(path)["features"])
    assert read.level == "cell"
    assert set(read.metadata["Metadata_Plate"]) == {"P7"}
    assert set(read.metadata["Metadata_Site"]) == {4}
    assert read.metadata["Metadata_X"].tolist() == [1, 3, 5]
    assert read.metadata["Metadata_Y"].tolist() == [2, 4, 6]


def test_deepprofiler_folder_takes_plate_well_and_site_from_names(tmp_path: Path) -> None:
    deepprofiler_file(tmp_path / "P1" / "A01_1.npz")
    deepprofiler_file(tmp_path / "P2" / "B02_3.npz", cells=2)
    deepprofiler_file(tmp_path / "P2" / "B02_4.npz", cells=0)
    read = read_profiles(tmp_path)
    assert len(read) == 5
    assert read.metadata["Metadata_Plate"].tolist() == ["P1"] * 3 + ["P2"] * 2
    assert read.metadata["Metadata_Well"].tolist() == ["A01"] * 3 + ["B02"] * 2
    assert read.metadata["Metadata_Site"].tolist() == ["1"] * 3 + ["3"] * 2


def test_deepprofiler_maps_are_pooled(tmp_path: Path) -> None:
    maps = np.arange(24, dtype=np.float32).reshape(2, 2, 2, 3)
    path = deepprofiler_file(tmp_path / "f.npz", features=maps)
    np.testing.assert_allclose(read_profiles(path).vectors, maps.mean(axis=(1, 2)))


class RunsCode:
    """What a pickle may hold: something that writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    path = deepprofiler_file(tmp_path / "f.npz", metadata={"Metadata_Well": RunsCode(trap)})
    with pytest.raises(ScreenError, match="could run code"):
        read_profiles(path)
    assert not trap.exists()


def test_archives_without_features_or_of_another_width_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", images=np.zeros(3))
    with pytest.raises(ScreenError, match=r"no array 'features'.*images"):
        read_profiles(tmp_path / "f.npz")
    deepprofiler_file(tmp_path / "d" / "A01_1.npz")
    deepprofiler_file(tmp_path / "d" / "A01_2.npz", features=np.zeros((2, 5)))
    with pytest.raises(ScreenError, match="5 features where"):
        read_profiles(tmp_path / "d")
    with pytest.raises(ScreenError, match="not numbers with a row a cell"):
        read_profiles(deepprofiler_file(tmp_path / "g.npz", features=np.zeros(4)))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ScreenError, match=r"no \.npz"):
        read_profiles(tmp_path / "nothing")


def test_without_anndata_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_anndata(some_profiles(), tmp_path / "p.h5ad")
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ScreenError, match=r"pip install napari-phenolens\[anndata\]"):
        read_profiles(path)
    with pytest.raises(OutputError, match=r"pip install napari-phenolens\[anndata\]"):
        write_anndata(some_profiles(), tmp_path / "q.h5ad")
