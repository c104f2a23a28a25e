"""An encoder that is ready for use: crops in file units go in, embeddings come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from phenolens.profiling.encoders.counterfactual import Counterfactuals, CounterfactualSettings, dose_features
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.encoders.network import CROP, EncoderNetwork, NetworkSettings
from phenolens.profiling.molecules.molecules import fingerprints, molecule_key
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.runtime.contents import mistaken
from phenolens.runtime.csv_tables import read_text_csv, write_csv
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.memory.fitting_batch import FittingBatch
from phenolens.runtime.output_kinds import ENCODER
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.crops import resample
from phenolens.screens.intensity import IntensityMap

_WEIGHTS = "encoder.safetensors"
_CARD = "card.json"
_BATCH = 128
_LARGEST_SIZE = 8192


class CellEncoder:
    """A trained network with what it needs to be used.

    Parameters
    ----------
    network
        Crops to embeddings.
    card
        What it was made from.
    intensity
        The map that its crops went through in training; None where it takes any channels, by a map of their own.
    counterfactuals
        What knows compounds: a generator as published, or a regression on structures; None where nothing does.
    compounds
        The compounds it was trained on: ``Metadata_Compound`` and ``SMILES``; None where it knows none.
    device
        Where it computes.
    folder, sha256
        Where it was read from or written to (``"default"`` for the one that ships), and the hash of its weights; empty
        where it has no files.
    """

    def __init__(
        self,
        network: EncoderNetwork,
        card: EncoderCard | None = None,
        *,
        intensity: IntensityMap | None = None,
        counterfactuals: Counterfactuals | StructureRegression | None = None,
        compounds: pd.DataFrame | None = None,
        device: str = "cpu",
        folder: str = "",
        sha256: str = "",
    ) -> None:
        self.network = network.to(device).eval()
        self.card = card or EncoderCard()
        self.folder, self.sha256 = folder, sha256
        self.intensity = intensity
        self.counterfactuals = counterfactuals
        if isinstance(counterfactuals, Counterfactuals):
            counterfactuals.to(device).eval()
        self.compounds = compounds
        self.device = device
        self._measuring, self._pooling = FittingBatch(), FittingBatch("cells")

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.network.settings.dimension

    @property
    def channel_names(self) -> tuple[str, ...] | None:
        """The channels it was trained on, in order; None where it takes any."""
        return None if self.intensity is None else self.intensity.channel_names

    def check_channels(self, names: Sequence[str]) -> None:
        """Refuse other channels than those of the training.

        Raises
        ------
        ModelError
            The names or their order differ.
        """
        if self.channel_names is not None and tuple(names) != self.channel_names:
            raise ModelError(
                f"This encoder was trained on the channels {', '.join(self.channel_names)}, but the images have "
                f"{', '.join(names)}: use the encoder 'default', or train one on this screen."
            )

    def features(self, mapped: NDArray[np.float32], size: int | None = CROP) -> NDArray[np.float32]:
        """Measure mapped crops (n, C, H, W): (n, C, length); `size` as for `embed`."""
        found = []
        for start in range(0, len(mapped), _BATCH):
            crops = mapped[start : start + _BATCH]
            if size is not None and crops.shape[-2:] != (size, size):
                crops = resample(crops, size)
            found.append(self._parts(self._measuring, self.network.features, crops))
        return np.concatenate(found) if found else np.empty((0, mapped.shape[1], self.network.length), np.float32)

    def pool(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Embeddings (n, dimension) of features (n, C, length)."""
        return self._parts(self._pooling, self.network.pool, features)

    def _parts(
        self, batch: FittingBatch, compute: Callable[[Tensor], Tensor], rows: NDArray[np.floating[Any]]
    ) -> NDArray[np.float32]:
        """What the network makes of rows, in as few parts as the device has memory for."""

        def there_and_back(part: Tensor) -> Tensor:
            return compute(part.to(self.device)).float().cpu()

        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(rows, np.float32))
            return np.asarray(batch.run(there_and_back, given, device=self.device).numpy())

    def embed(
        self, crops: NDArray[Any], intensity: IntensityMap | None = None, size: int | None = CROP
    ) -> NDArray[np.float32]:
        """Embed crops.

        Parameters
        ----------
        crops
            (n, C, H, W) in the file's intensity units.
        intensity
            Their map; that of the training by default.
        size
            Side in pixels that crops are brought to; None leaves them as they are, as for whole fields.

        Returns
        -------
        ndarray (n, dimension) float32

        Raises
        ------
        ModelError
            There is no map, or it is of other channels than the encoder's.
        """
        intensity = intensity or self.intensity
        if intensity is None:
            raise ModelError("This encoder takes any channels and needs the intensity map of these images.")
        self.check_channels(intensity.channel_names)
        return self.pool(self.features(np.stack([intensity.forward(crop) for crop in crops]), size))

    def counterfactual(self, controls: NDArray[Any], smiles: str, dose: float | None = None) -> NDArray[np.float32]:
        """Predict the embeddings of controls after a compound; the control compound itself changes nothing.

        Parameters
        ----------
        controls
            (m, dimension) embeddings of untreated cells or wells.
        smiles
            The compound, in any form.
        dose
            In the unit of the training screen's dose column; None where it is not known.

        Returns
        -------
        ndarray (m, dimension) float32

        Raises
        ------
        ModelError
            The encoder knows no compounds.
        ScreenError
            The structure cannot be read.
        """
        if self.counterfactuals is None:
            raise ModelError(
                "This encoder knows no compounds: train one on a screen with a column Metadata_SMILES "
                "(phenolens micon train)."
            )
        if molecule_key(smiles) in self.card.controls:
            return np.array(controls, np.float32)
        if isinstance(self.counterfactuals, StructureRegression):
            change = self.counterfactuals.predict(fingerprints([smiles]), dose_features([dose]))
            return np.asarray(controls + change, np.float32)
        seen = torch.from_numpy(fingerprints([smiles], bits=self.counterfactuals.settings.bits))
        with torch.inference_mode():
            code = self.counterfactuals.encode(
                seen.to(self.device), torch.from_numpy(dose_features([dose])).to(self.device)
            )
            held = torch.from_numpy(np.asarray(controls, np.float32)).to(self.device)
            made: Tensor = self.counterfactuals.generate(torch.cat([held, code.expand(len(held), -1)], dim=1))
            return np.asarray(made.float().cpu().numpy())

    def save(self, folder: Path, overwrite: bool = False, made: Mapping[str, Any] | None = None) -> Path:
        """Write the encoder as a folder, whole or not at all; an earlier encoder in it is replaced.

        Parameters
        ----------
        overwrite
            Replace any earlier output of phenolens in the folder.
        made
            Facts for a ``provenance.json``; none is written where None.

        Raises
        ------
        OutputError
            The folder cannot be written, or holds something else.
        """
        from safetensors.torch import save_file

        parts = nn.ModuleDict({"network": self.network})
        knows = self.counterfactuals
        if isinstance(knows, Counterfactuals):
            parts["counterfactuals"] = knows
        with writing_output(folder, ENCODER, overwrite) as new:
            weights = {name: value.float().cpu().contiguous() for name, value in parts.state_dict().items()}
            if isinstance(knows, StructureRegression):
                weights |= {f"regression.{name}": torch.from_numpy(value) for name, value in vars(knows).items()}
            save_file(weights, str(new / _WEIGHTS))
            if self.compounds is not None:
                write_csv(self.compounds, new / "compounds.csv")
            write_json(
                new / _CARD,
                {
                    **self.card.to_dict(),
                    "network": self.network.settings.to_dict(),
                    "intensity": None if self.intensity is None else self.intensity.to_dict(),
                    "counterfactuals": knows.settings.to_dict() if isinstance(knows, Counterfactuals) else None,
                },
            )
            if made is not None:
                write_provenance(new, **made)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            The folder is not that of an encoder, or of one that this version can read.
        """
        from safetensors.torch import load_file

        if not (folder / _CARD).is_file() or not (folder / _WEIGHTS).is_file():
            raise ModelError(
                mistaken(folder, "encoder") or f"{folder} is not an encoder: it needs {_CARD} and {_WEIGHTS}."
            )
        try:
            card = read_json_object(folder / _CARD)
            EncoderCard.check_format(card, f"The encoder {folder}")
            sizes = card.pop("network")
            network = EncoderNetwork(NetworkSettings(**_sizes(sizes)))
            parts = nn.ModuleDict({"network": network})
            known = card.pop("counterfactuals")
            weights = load_file(folder / _WEIGHTS)
            counterfactuals: Counterfactuals | StructureRegression | None = None
            if known is not None:
                counterfactuals = Counterfactuals(CounterfactualSettings(**_sizes(known)))
                parts["counterfactuals"] = counterfactuals
            fitted = {name: weights.pop(name).numpy() for name in list(weights) if name.startswith("regression.")}
            if fitted:
                counterfactuals = StructureRegression(**{name.split(".")[1]: part for name, part in fitted.items()})
            parts.load_state_dict({name: value.float() for name, value in weights.items()})
            mapped = card.pop("intensity")
            intensity = None if mapped is None else IntensityMap.from_dict(mapped)
            listed = folder / "compounds.csv"
            compounds = read_text_csv(listed) if listed.is_file() else None
            about = EncoderCard.from_dict({name: value for name, value in card.items() if name != "sha256"})
            sha256 = sha256_of(folder / _WEIGHTS)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"The encoder {folder} cannot be read ({error}); train it again.") from error
        return cls(
            network,
            about,
            intensity=intensity,
            counterfactuals=counterfactuals,
            compounds=compounds,
            device=resolve_device(device),
            folder=str(folder.resolve()),
            sha256=sha256,
        )


def _sizes(settings: Any) -> dict[str, Any]:
    """Check settings before a network is made of them: a forged number could ask for any amount of memory."""
    if not isinstance(settings, dict):
        raise ValueError("the sizes of the network are no settings")
    for name, value in settings.items():
        if isinstance(value, int) and not 0 <= value <= _LARGEST_SIZE:
            raise ValueError(f"the size {name} of the network is {value}, and not 0 to {_LARGEST_SIZE}")
    return settings


def check_encoder(encoder: CellEncoder, profiles: Mapping[str, Any]) -> None:
    """Refuse an encoder other than the one that made profiles, by their card.

    Raises
    ------
    ModelError
        Its weights are others, such as after it was trained again into the same folder.
    """
    made_by, is_now = profiles.get("encoder_sha256"), encoder.sha256
    if made_by and is_now and made_by != is_now:
        raise ModelError(
            f"The encoder {encoder.card.name} is not the one that made these profiles, only named so: "
            "embed the screen again, or give the encoder that made them."
        )


def load_encoder(name: str | Path = "default", device: str = "cpu") -> CellEncoder:
    """Load an encoder: ``"default"``, which ships with the package and takes any channels, or a folder.

    Raises
    ------
    ModelError
        There is no such encoder.
    """
    if str(name) == "default":
        shipped = Path(str(files("phenolens") / "encoders" / "default"))
        if not shipped.is_dir():
            raise ModelError("The encoder 'default' is missing from this installation; install napari-phenolens again.")
        encoder = CellEncoder.load(shipped, device)
        # Its name, which holds wherever the package is installed.
        encoder.folder = "default"
        return encoder
    if not Path(name).is_dir():
        raise ModelError(f"There is no encoder {str(name)!r}: it is neither 'default' nor an existing folder.")
    return CellEncoder.load(Path(name), device)
