"""Small whole files of every kind that is read, made by this project's own code or the library that others use."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
SMILES = (ASPIRIN, "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[C@H](N)C(=O)O.Cl", "[Na+].OC(=O)c1ccc(O)cc1", "C/C=C/CN(C)C")


def make_seeds(folder: Path) -> dict[str, list[Path]]:
    """Write all seeds below `folder`; the files or folders to start from, by the name of their reader."""
    made = {name: make(_new(folder / name.replace("/", "-"))) for name, make in MAKERS.items()}
    return {name: [path.relative_to(folder) for path in paths] for name, paths in made.items()}


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _pixels(*shape: int, kind: str = "uint16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(kind)


def _screen_table(folder: Path) -> pd.DataFrame:
    import tifffile

    for number in range(4):
        tifffile.imwrite(folder / f"f{number}.tif", _pixels(8, 8), photometric="minisblack")
    return pd.DataFrame(
        {
            "Metadata_Plate": ["0012", "0012", "p2", "p2"],
            "Metadata_Well": ["A01", "A02", "A01", "B02"],
            "Metadata_Site": [1, 1, 1, 2],
            "Metadata_Compound": ["DMSO", "NA", 'a "b"', "1,2-diol"],
            "Metadata_Concentration": [0.0, 0.1, 10.5, 1e-3],
            "Metadata_PixelSize": ["0.65", "0.65 um", "650 nm", ""],
            "Image": [f"f{number}.tif" for number in range(4)],
        }
    )


def screen_csv(folder: Path) -> list[Path]:
    _screen_table(folder).to_csv(folder / "screen.csv", index=False)
    return [folder / "screen.csv"]


def screen_tsv(folder: Path) -> list[Path]:
    table = _screen_table(folder)
    table.to_csv(folder / "screen.tsv", sep="\t", index=False)
    table.to_csv(folder / "screen.txt", sep=";", index=False)
    table[["Image"]].to_csv(folder / "one.txt", index=False)
    return [folder / "screen.tsv", folder / "screen.txt", folder / "one.txt"]


def screen_parquet(folder: Path) -> list[Path]:
    _screen_table(folder).to_parquet(folder / "screen.parquet")
    return [folder / "screen.parquet"]


def ome_tiff(folder: Path) -> list[Path]:
    from phenolens.screens.export import write_ome_tiff

    write_ome_tiff(folder / "a.ome.tif", _pixels(2, 9, 7), "CYX", ["DNA", "GFP"], 0.65, synthetic=False)
    write_ome_tiff(folder / "b.ome.tif", _pixels(2, 3, 2, 6, 5, kind="float32"), "TZCYX", ["a", "b"], (0.5, 0.4),
                   synthetic=True, z_spacing=2.0)  # fmt: skip
    return [folder / "a.ome.tif", folder / "b.ome.tif"]


def plain_tiff(folder: Path) -> list[Path]:
    import tifffile

    tifffile.imwrite(folder / "grey.tif", _pixels(9, 7), photometric="minisblack")
    tifffile.imwrite(folder / "rgb.tif", _pixels(9, 7, 3, kind="uint8"), photometric="rgb", compression="zlib")
    tifffile.imwrite(folder / "stack.tif", _pixels(3, 9, 7, kind="float32"), photometric="minisblack", byteorder=">")
    tifffile.imwrite(folder / "tiled.tif", _pixels(40, 33), tile=(16, 16), compression="lzw", bigtiff=True)
    tifffile.imwrite(folder / "bool.tif", _pixels(9, 7) > 100, photometric="minisblack")
    return sorted(folder.iterdir())


def imagej_tiff(folder: Path) -> list[Path]:
    import tifffile

    metadata = {"axes": "ZCYX", "unit": "um", "spacing": 1.5, "Labels": ["DNA", "GFP"] * 3}
    tifffile.imwrite(folder / "a.tif", _pixels(3, 2, 9, 7), imagej=True, resolution=(4.0, 2.0), metadata=metadata)
    return [folder / "a.tif"]


def png(folder: Path) -> list[Path]:
    from PIL import Image

    Image.fromarray(_pixels(9, 7, kind="uint8")).save(folder / "grey.png")
    Image.fromarray(_pixels(9, 7)).save(folder / "deep.png")
    Image.fromarray(_pixels(9, 7, 3, kind="uint8")).save(folder / "rgb.png")
    return sorted(folder.iterdir())


def jpg_bmp(folder: Path) -> list[Path]:
    from PIL import Image

    Image.fromarray(_pixels(9, 7, kind="uint8")).save(folder / "grey.bmp")
    Image.fromarray(_pixels(16, 16, kind="uint8")).save(folder / "grey.jpg")
    Image.fromarray(_pixels(16, 16, 3, kind="uint8")).save(folder / "rgb.jpg")
    Image.fromarray(_pixels(9, 7, kind="uint8")).convert("P").save(folder / "palette.bmp")
    return sorted(folder.iterdir())


def _profiles(rows: int = 8):
    from phenolens.profiling.tables.profiles import Profiles

    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "Metadata_Plate": ["p1", "p2"] * (rows // 2),
            "Metadata_Well": [f"A{number:02d}" for number in range(rows)],
            "Metadata_Compound": ["DMSO", "NA", None, "a/b"] * (rows // 4),
            "Metadata_Role": ["negative control", "treated"] * (rows // 2),
            "Metadata_Concentration": np.linspace(0, 1, rows),
            "Metadata_Label": range(rows),
        }
    )
    return Profiles(table, rng.normal(size=(rows, 5)).astype(np.float32), {"level": "cell", "encoder": "plain"})


def profiles_parquet(folder: Path) -> list[Path]:
    from phenolens.profiling.tables.profile_files import write_profiles

    write_profiles(_profiles(), folder / "own.parquet")
    _feature_table().to_parquet(folder / "other.parquet")
    return [folder / "own.parquet", folder / "other.parquet"]


def _feature_table() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {"Metadata_Well": [f"A{n}" for n in range(6)], "x": range(6), "area": rng.normal(size=6), "mean": range(6)}
    )


def profiles_csv(folder: Path) -> list[Path]:
    profiles = _profiles()
    vectors = pd.DataFrame(profiles.vectors, columns=[f"emb_{number}" for number in range(5)])
    text = pd.concat([profiles.metadata, vectors], axis=1).to_csv(index=False)
    (folder / "a.csv").write_text(text)
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "b.csv").write_text(_feature_table().to_csv(index=False, sep=";"))
    return sorted(folder.iterdir())


def profiles_h5ad(folder: Path) -> list[Path]:
    from phenolens.profiling.tables.profile_files import write_anndata

    write_anndata(_profiles(), folder / "a.h5ad", np.zeros((8, 2)))
    return [folder / "a.h5ad"]


def deepprofiler(folder: Path) -> list[Path]:
    features = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    metadata = {"Metadata_Plate": "P7", "Metadata_Well": "C03", "Metadata_Site": np.int64(4), "Dose": np.float32(0.5)}
    np.savez(folder / "a.npz", features=features, metadata=metadata, locations=np.arange(8).reshape(4, 2))
    np.savez_compressed(folder / "A01_2.npz", features=features.reshape(2, 2, 1, 6))
    return sorted(folder.iterdir())


def adapter(folder: Path) -> list[Path]:
    from phenolens.screens.conditions import Condition
    from phenolens.translation.model.adapter_card import AdapterCard
    from tiny_base import make_tiny_adapter, make_tiny_base

    made = make_tiny_adapter(make_tiny_base(folder.parent / "base-of-adapter"))
    made.source, made.target = map(Condition.parse, ("Metadata_Role=negative control", "Metadata_Compound=x"))
    made.nucleus_channel, made.reverse_guidance, made.network_crop = 0, 1.2, 32
    first, second = made.source.text, made.target.text
    made.card = AdapterCard(
        plane=(0, 1), settings={"steps": 3, "rank": 2, "learning_rate": 1e-3}, discriminative={"a": 0.9},
        cells={first: 4, second: 5}, fields={first: ("A01",), second: ("A02",)}, cells_found="auto",
    )  # fmt: skip
    made.save(folder / "adapter")
    return [folder / "adapter"]


def base(folder: Path) -> list[Path]:
    from tiny_base import make_tiny_base
    from tiny_stable_diffusion import make_tiny_stable_diffusion

    # two levels have layers of every kind, and are built in a fraction of the time
    return [make_tiny_base(folder / "own", levels=2), make_tiny_stable_diffusion(folder / "foreign", levels=2)]


def atlas(folder: Path) -> list[Path]:
    from phenolens.profiling.atlas.atlas import Atlas
    from phenolens.runtime.progress import finish

    finish(Atlas.fit(_profiles(40))).save(folder / "atlas")
    return [folder / "atlas"]


def encoder(folder: Path) -> list[Path]:
    from phenolens.profiling.encoders.encoder import CellEncoder
    from phenolens.profiling.encoders.encoder_card import EncoderCard
    from phenolens.profiling.encoders.network import EncoderNetwork, NetworkSettings
    from phenolens.screens.intensity import IntensityMap

    network = EncoderNetwork(NetworkSettings(token=8, dimension=4, channels=2))
    compounds = pd.DataFrame({"Metadata_Compound": ["a"], "SMILES": [ASPIRIN]})
    CellEncoder(
        network,
        EncoderCard(name="small"),
        intensity=IntensityMap("affine", ("DNA", "GFP"), (1.0, 2.0), (10.0, 20.0)),
        compounds=compounds,
    ).save(folder / "encoder")
    return [folder / "encoder"]


def report(folder: Path) -> list[Path]:
    from saved_reports import made_up_report

    (folder / "report.json").write_text(json.dumps(made_up_report()))
    return [folder / "report.json"]


def structures(folder: Path) -> list[Path]:
    for number, smiles in enumerate(SMILES):
        (folder / f"{number}.smi").write_text(smiles)
    return sorted(folder.iterdir())


MAKERS = {
    "screen.csv": screen_csv,
    "screen.tsv/txt": screen_tsv,
    "screen.parquet": screen_parquet,
    "image ome.tif": ome_tiff,
    "image tif (raw)": plain_tiff,
    "image imagej tif": imagej_tiff,
    "image png": png,
    "image jpg/bmp": jpg_bmp,
    "profiles.parquet": profiles_parquet,
    "profiles.csv(.gz)": profiles_csv,
    "profiles.h5ad": profiles_h5ad,
    "DeepProfiler npz": deepprofiler,
    "adapter folder": adapter,
    "base folder": base,
    "atlas folder": atlas,
    "encoder folder": encoder,
    "report.json": report,
    "structure": structures,
}
