"""What fine-tuning adds to a base: weights, a token for each condition, an intensity map, and a card."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from phenolens.runtime.cards import texts
from phenolens.runtime.contents import mistaken
from phenolens.runtime.errors import CellError, ImageError, ModelError, ScreenError
from phenolens.runtime.files import write_json
from phenolens.runtime.json_files import read_json_object
from phenolens.runtime.output_kinds import ADAPTER
from phenolens.runtime.outputs import writing_output
from phenolens.runtime.progress import Job
from phenolens.runtime.provenance import sha256_of, write_provenance
from phenolens.screens.cells import Cells, find_cells
from phenolens.screens.conditions import Condition
from phenolens.screens.intensity import IntensityMap
from phenolens.screens.notebook import shown
from phenolens.screens.segmenters import segmenter_named
from phenolens.screens.table import Screen
from phenolens.translation.model.adapter_card import AdapterCard
from phenolens.translation.model.adapter_values import (
    MOST_CROP,
    guidance,
    numbers,
    optional,
    pair,
    pixel_size,
    token_rows,
    whole_number,
)
from phenolens.translation.model.base import Base
from phenolens.translation.model.methods import METHODS, find_method
from phenolens.translation.model.widening import end_parameters, load_ends

# File of the end convolutions, which is there where they were widened and the method did not train them anyway.
ENDS = "widened_ends.safetensors"

NOISE_FLOOR = "noise_floor"
"""Folder in an adapter's that is not part of the adapter; see `phenolens.evaluation`."""


@dataclass(kw_only=True)
class Adapter:
    """A fine-tuned pair of conditions.

    Parameters
    ----------
    source, target
        The two conditions, read once; in files, tables and pictures they go by their texts, as `conditions` has them.
    channel_names
        Channels in the order that the network sees them.
    crop
        Height and width in pixels of the field that become the network's input.
    pixel_size
        Micrometres a pixel in Y and X of the fields it was trained on, or None where unknown.
    intensity
        Map of each channel from the file's units to about [-1, 1].
    tokens
        (3, d) float32: the token of the data set, of the source and of the target.
    weights
        Trained weights by name, as the method keeps them.
    config
        The method's configuration of them.
    held
        Names of the channels that do not tell the conditions apart, which a translation leaves as they are.
    guidance
        Weight of the condition difference at which control cells look as treated as treated cells do.
    reverse_guidance
        The same back from the target condition to the source; `guidance` where None, as in adapters made before it was.
    method
        Name of the method that trained the weights.
    network_crop
        Height and width that the network sees of a crop; the base's own where None.
    ends
        The convolutions at both ends of the UNet, where the base was widened for more channels and they are not among
        the weights; else nothing.
    card
        What it was trained on and how.
    unfinished
        How far its training was, such as ``"step 300 of 900"``, of one that is tried while it trains; else empty.

    Notes
    -----
    Low-rank weights (LoRA, Hu et al., 2021, arXiv 2106.09685) beside one learned token for each condition, as in
    Phen-LDiff (Bourou et al., 2025, arXiv 2502.09665).

    Examples
    --------
    >>> import phenolens as ph
    >>> adapter = ph.Adapter.load("adapter")
    >>> adapter.conditions
    ('Metadata_Role=negative control,Metadata_Well!=A05', 'translocation,Metadata_Well!=A06')
    >>> adapter.crop, adapter.channel_names  # pixels of the field, and their channels
    (40, ('DNA', 'Reporter', 'Organelle'))
    """

    source: Condition
    target: Condition
    channel_names: tuple[str, ...]
    crop: int
    pixel_size: tuple[float, float] | None
    intensity: IntensityMap
    tokens: torch.Tensor
    weights: dict[str, torch.Tensor]
    config: dict[str, Any]
    base: str = "compact"
    nucleus_channel: int | None = None
    held: tuple[str, ...] = ()
    guidance: float = 1.5
    method: str = "lora"
    network_crop: int | None = None
    ends: dict[str, torch.Tensor] = field(default_factory=dict)
    card: AdapterCard = field(default_factory=AdapterCard)
    folder: Path | None = None
    reverse_guidance: float | None = None
    unfinished: str = ""

    @property
    def conditions(self) -> tuple[str, str]:
        """Texts of the source and the target condition."""
        return self.source.text, self.target.text

    def guidance_to(self, target: str) -> float:
        """The weight of the condition difference for translations to the condition `target`."""
        if target == self.conditions[0] and self.reverse_guidance is not None:
            return self.reverse_guidance
        return self.guidance

    def condition_tokens(self, name: str) -> torch.Tensor:
        """(2, d) tokens of the data set and of the condition `name`.

        Raises
        ------
        ModelError
            Where the adapter has no such condition.
        """
        if name not in self.conditions:
            raise ModelError(
                f"The adapter knows no condition '{name}': it has {' and '.join(map(repr, self.conditions))}."
            )
        return self.tokens[[0, 1 + self.conditions.index(name)]]

    def sha256(self) -> str | None:
        """Hash of the adapter's files, whether or not a noise floor lies beside them; None where it has no folder."""
        if self.folder is None:
            return None
        # Nor do the mark, locks and what is being written count, or what desktops leave; all of them are hidden.
        hidden = [path.name for path in self.folder.glob(".*")]
        return sha256_of(self.folder, without=(NOISE_FLOOR, f"{NOISE_FLOOR}.partial", *hidden))

    def at_plane(self, screen: Screen) -> Screen:
        """`screen` in the plane of its stacks that was fine-tuned on, unless a plane of it was chosen already."""
        plane = self.card.plane
        return screen if plane is None or screen.position is not None else screen.at_plane(*plane)

    def cells_as_trained(self, screen: Screen, cells: "str | Path | Cells | None" = None) -> Job[Cells]:
        """Find the cells of `screen` as those were found that the adapter was trained on, unless `cells` says how.

        Parameters
        ----------
        cells
            Cells that are known, or how to find them, as `find_cells` takes it.

        Raises
        ------
        CellError
            The adapter was trained on somebody's own cells, and those of this screen are not given; or none are found.
        """
        if isinstance(cells, Cells):
            return cells
        return (yield from find_cells(screen, self.how_cells_are_found(cells), nucleus_channel=self.nucleus_channel))

    def how_cells_are_found(self, cells: "str | Path | None" = None) -> "str | Path":
        """How `cells_as_trained` finds cells, as `find_cells` takes it; it raises the same."""
        how = cells if cells is not None else self.card.cells_found or "auto"
        if cells is None and how == "given":
            raise CellError(
                "The adapter was trained on cells that somebody outlined or corrected, and those of this screen are "
                "not given: give their label images (--cells FOLDER), or choose how to find cells (--cells auto)."
            )
        if cells is None and how not in ("whole", "inside") and segmenter_named(str(how)) is None:
            if not Path(how).is_dir():
                raise CellError(
                    f"The adapter was trained on the label images in {how}, which are not there now: give those of "
                    "this screen (--cells FOLDER), or choose how to find cells (--cells auto)."
                )
            return Path(how)
        return how

    def check_channels(self, names: tuple[str, ...], where: str) -> None:
        """Raise `ModelError` where an image's channels are not the adapter's."""
        if len(names) != len(self.channel_names):
            raise ModelError(
                f"The adapter was trained on {len(self.channel_names)} channels ({', '.join(self.channel_names)}), "
                f"but {where} has {len(names)} ({', '.join(names)}): choose images with the same channels."
            )
        if tuple(n.lower() for n in names) != tuple(n.lower() for n in self.channel_names):
            named = [n for n in names if not n.lower().startswith("channel")]
            if named and {n.lower() for n in names} == {n.lower() for n in self.channel_names}:
                raise ModelError(
                    f"The channels of {where} are in the order {', '.join(names)}, the adapter's in the order "
                    f"{', '.join(self.channel_names)}: put them in the same order."
                )

    def _repr_html_(self) -> str:
        cells = self.card.cells or {}
        source, target = self.conditions
        facts = {
            "source": f"{source} ({cells.get(source, '?')} cells)",
            "target": f"{target} ({cells.get(target, '?')} cells)",
            "channels": ", ".join(self.channel_names),
            "held as they are": ", ".join(self.held) or "none",
            "crop": f"{self.crop} x {self.crop} pixels",
            "base": self.base,
            "method": self.method,
            "folder": self.folder or "not saved",
        }
        return shown("Adapter", facts)

    def apply(self, base: Base) -> None:
        """Merge the weights into the UNet of `base`, which must be of this adapter alone.

        Raises
        ------
        ModelError
            Where the adapter was made on another base, or the base holds the weights of another adapter.
        """
        base.take_in(f"the adapter {self.folder}" if self.folder is not None else "an adapter")
        if self.tokens.shape[1] != base.token_size:
            raise ModelError("The adapter does not fit this base: load the base that its card names.")
        base.check_channels(len(self.channel_names), "The adapter")
        base.use_channels(len(self.channel_names))
        if self.network_crop:
            base.use_crop(self.network_crop)
        method = find_method(self.method)
        method.inject(base.unet, self.config)
        method.put(base.unet, self.weights)
        if base.widened and not any(end.requires_grad for end in end_parameters(base.unet).values()):
            load_ends(base.unet, self.ends)
        base.settle(method.merge)

    def save(self, folder: Path, overwrite: bool = False) -> Path:
        """Write the adapter as a folder, whole or not at all; an earlier adapter in it is replaced.

        Parameters
        ----------
        overwrite
            Replace any earlier output of phenolens in the folder, and a noise floor with the adapter.

        Raises
        ------
        OutputError
            The folder cannot be written, or holds something else.
        ModelError
            It is still being trained.
        """
        if self.unfinished:
            raise ModelError(f"This adapter is not finished ({self.unfinished}): save it when it is.")
        from safetensors.torch import save_file

        with writing_output(folder, ADAPTER, overwrite) as temporary:
            weights = {k: v.contiguous().cpu() for k, v in self.weights.items()}
            save_file(weights, temporary / "adapter_model.safetensors")
            if self.ends:
                save_file({k: v.contiguous().cpu() for k, v in self.ends.items()}, temporary / ENDS)
            write_json(temporary / "adapter_config.json", self.config)
            save_file({"tokens": self.tokens.contiguous().cpu()}, temporary / "conditions.safetensors")
            write_json(temporary / "intensity.json", self.intensity.to_dict())
            write_json(
                temporary / "card.json",
                {
                    "conditions": list(self.conditions),
                    "channel_names": list(self.channel_names),
                    "crop": self.crop,
                    "pixel_size": self.pixel_size,
                    "nucleus_channel": self.nucleus_channel,
                    "base": self.base,
                    "held": list(self.held),
                    "guidance": self.guidance,
                    "reverse_guidance": self.reverse_guidance,
                    "method": self.method,
                    "network_crop": self.network_crop,
                    **self.card.to_dict(),
                },
            )
            write_provenance(
                temporary, conditions=list(self.conditions), base=self.base, method=self.method, **self.card.facts()
            )
        self.folder = Path(folder)
        return self.folder

    @classmethod
    def load(cls, folder: str | Path) -> "Adapter":
        """Read an adapter folder.

        Raises
        ------
        ModelError
            Where the folder is absent, incomplete, broken, or of a newer version.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        if not folder.is_dir():
            raise ModelError(f"There is no adapter folder {folder}: fine-tune one first, or choose another folder.")
        names = (
            "adapter_model.safetensors",
            "adapter_config.json",
            "conditions.safetensors",
            "intensity.json",
            "card.json",
        )
        absent = [name for name in names if not (folder / name).is_file()]
        if absent and (reason := mistaken(folder, "adapter")):
            raise ModelError(reason)
        if len(absent) == len(names):
            raise ModelError(f"{folder} is not an adapter: choose the folder that a fine-tuning wrote.")
        if absent:
            raise ModelError(f"{folder} is not a whole adapter: it lacks {', '.join(absent)}. Fine-tune it again.")
        try:
            card = read_json_object(folder / "card.json")
            AdapterCard.check_format(card, f"The adapter {folder}")
            # Adapters that name no method were made when there was only one.
            method = str(card.pop("method", "lora"))
            if method not in METHODS:
                raise ModelError(f"{folder} was fine-tuned by '{method}', which this version does not know: update it.")
            source, target = (Condition.parse(one) for one in pair(card.pop("conditions")))
            channels = texts(card.pop("channel_names"))
            weights = numbers(load_file(folder / "adapter_model.safetensors"))
            return cls(
                source=source,
                target=target,
                channel_names=channels,
                crop=whole_number(1, MOST_CROP)(card.pop("crop")),
                pixel_size=optional(pixel_size, card.pop("pixel_size") or None),
                nucleus_channel=optional(whole_number(0, len(channels) - 1), card.pop("nucleus_channel")),
                base=str(card.pop("base")),
                held=texts(card.pop("held", ())),
                guidance=guidance(card.pop("guidance", 1.5)),
                reverse_guidance=optional(guidance, card.pop("reverse_guidance", None)),
                method=method,
                network_crop=optional(whole_number(0, MOST_CROP), card.pop("network_crop", None)),
                ends=numbers(load_file(folder / ENDS)) if (folder / ENDS).is_file() else {},
                intensity=IntensityMap.from_dict(read_json_object(folder / "intensity.json")),
                tokens=token_rows(load_file(folder / "conditions.safetensors")),
                weights=weights,
                config=METHODS[method].read(read_json_object(folder / "adapter_config.json"), weights),
                card=_card(card, (source, target)),
                folder=folder,
            )
        except ModelError:
            raise
        except (
            SafetensorError, ImageError, ScreenError, OSError, KeyError, ValueError, TypeError, IndexError,
            AttributeError, OverflowError, RuntimeError, MemoryError,
        ) as error:  # fmt: skip
            raise ModelError(f"The adapter in {folder} is broken ({error}): fine-tune it again.") from error


def _card(facts: dict[str, Any], conditions: Sequence[Condition]) -> AdapterCard:
    """The card of an adapter of these conditions; the fields of both are known, or of none."""
    card = AdapterCard.from_dict(facts)
    if card.fields is not None and not {one.text for one in conditions} <= set(card.fields):
        raise ValueError("its card lacks the fields of a condition")
    return card
