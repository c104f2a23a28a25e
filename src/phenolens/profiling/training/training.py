"""Adapt an encoder to a screen: MICON's training, resumable."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from phenolens.profiling.corrections.standardise import PlateScaling
from phenolens.profiling.encoders.cell_crops import fit_intensity
from phenolens.profiling.encoders.counterfactual import Counterfactuals, CounterfactualSettings, Mode
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.encoders.network import EncoderNetwork, NetworkSettings, ScreenHead
from phenolens.profiling.molecules.baselines import changes
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.profiling.training.objectives import Objective, Views, loss_of
from phenolens.profiling.training.optimisation import optimise
from phenolens.profiling.training.sampler import CompoundSampler
from phenolens.profiling.training.training_cells import (
    Compounds,
    TrainingCells,
    column_or,
    gather_training_cells,
    number_compounds,
)
from phenolens.runtime.checkpoints import Checkpoints, fingerprint, no_other_run
from phenolens.runtime.devices import resolve_device
from phenolens.runtime.errors import ScreenError
from phenolens.runtime.files import writable_folder
from phenolens.runtime.locks import one_at_a_time
from phenolens.runtime.output_kinds import ENCODER
from phenolens.runtime.outputs import check_output
from phenolens.runtime.progress import Job, Progress
from phenolens.screens.cells import Cells, suggest_crop
from phenolens.screens.table import Screen

# Cells that the start of a head is measured on, at most.
_MOST = 20_000
_NEEDS_EVERY_STRUCTURE = ("faithful", "clip")


@dataclass(frozen=True)
class MiconSettings:
    """How an encoder is adapted to a screen.

    Parameters
    ----------
    mode
        ``"improved"`` or ``"faithful"`` MICON; or a baseline, ``"paclr"``, ``"clip"`` or ``"simclr"``.
    steps
        Training steps.
    items
        Pairs compared in a step.
    bag
        Cells that are averaged to what is compared: a field is the mean of its cells.
    views
        Times that each cell is measured: once as it is, and changed as plates differ.
    by
        ``"compound"``, or ``"treatment"`` where each dose is to be told apart.
    most
        Cells used of a field.
    crop
        Side of the window around a cell in pixels; four median nuclei where None.
    dimension
        Length of the embedding. More than the phenotypes span lets the noise of single cells in.
    """

    mode: Objective = "improved"
    steps: int = 200
    items: int = 48
    bag: int = 16
    views: int = 4
    by: str = "compound"
    most: int = 60
    crop: int | None = None
    dimension: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    seed: int = 0


@one_at_a_time()
def train_encoder(
    screen: Screen,
    cells: Cells,
    out: Path,
    *,
    start: str | Path = "default",
    settings: MiconSettings | None = None,
    device: str = "auto",
    resume: bool = False,
    start_over: bool = False,
    overwrite: bool = False,
) -> Job[CellEncoder]:
    """Train an encoder on a screen and write it to the folder `out`.

    Until it is whole, the last two checkpoints are kept in ``<out>.partial``.

    Parameters
    ----------
    resume
        Go on from the checkpoint of an unfinished run, where there is one.
    start_over
        Give up the checkpoint of an unfinished run; without either, one that is there is refused.
    overwrite
        Replace any earlier output of phenolens in `out`, not an encoder alone.

    Raises
    ------
    ScreenError, CellError, ModelError, OutputError, DeviceError
        The screen names no compounds or has a structure that cannot be read, there are no cells, or the encoder to
        start from, the output folder (which may hold an unfinished run) or the device is not usable.
    """
    settings = settings or MiconSettings()
    out = check_training(screen, out, settings, overwrite)
    checkpoint = checkpoint_of(out)
    if not (resume or start_over):
        no_other_run(checkpoint, out.name)
    device = resolve_device(device)
    encoder = load_encoder(start, device)
    encoder.check_channels(screen.channel_names)
    partial = writable_folder(checkpoint.parent)
    try:
        intensity = yield from fit_intensity(screen)
        crop = settings.crop or suggest_crop(cells, screen)
        data = yield from gather_training_cells(
            screen,
            cells,
            encoder,
            crop=crop,
            intensity=intensity,
            views=settings.views,
            most=settings.most,
            by=settings.by,
            seed=settings.seed,
        )
        network, parts, notes = yield from fit(encoder.network, data, settings, device, checkpoint, str(start), resume)
        if settings.mode == "improved":
            notes += _without_structure(data.compounds)
        knows = _predictor(network, parts, data, settings.mode)
        card = EncoderCard(
            name=out.name, start=str(start), recipe=asdict(settings), crop=crop, cells=len(data), notes=tuple(notes),
            controls=tuple(data.compounds.controls), attribution=encoder.card.attribution,
        )  # fmt: skip
        trained = CellEncoder(
            network,
            card,
            intensity=intensity,
            counterfactuals=knows,
            compounds=None if knows is None else data.compounds.table[data.compounds.structures],
            device=device,
        )
        made = {"seed": settings.seed, "device": device, "recipe": asdict(settings), "screen": len(screen)}
        trained.save(out, overwrite, made)
        Checkpoints(checkpoint).remove()
    finally:
        with suppress(OSError):  # as long as anything is in it
            partial.rmdir()
    trained.folder = str(out.resolve())
    yield Progress(settings.steps, settings.steps, "Trained the encoder")
    return trained


def checkpoint_of(out: Path) -> Path:
    """The checkpoint of the encoder `out` while it is being trained."""
    return out.with_name(out.name + ".partial") / "training.pt"


def fit(
    start: EncoderNetwork,
    data: TrainingCells,
    settings: MiconSettings,
    device: str = "cpu",
    checkpoint: Path | None = None,
    name: str = "",
    resume: bool = True,
) -> Job[tuple[EncoderNetwork, Counterfactuals, list[str]]]:
    """Train a copy of a network on cells.

    Returns
    -------
    tuple
        The network, the counterfactual half, and notes on what the data did not allow.

    Raises
    ------
    ScreenError
        There is no compound, or the objective needs structures and some are missing.
    """
    _check_structures(settings.mode, data.compounds)
    metadata = data.metadata
    plates = column_or(metadata, ("Metadata_Plate", "Metadata_Batch"), "")
    sampler = CompoundSampler(
        data.compounds.numbers,
        plates,
        column_or(metadata, ("Metadata_Batch", "Metadata_Plate"), ""),
        column_or(metadata, ("Metadata_Well", "Metadata_Field"), ""),
    )
    torch.manual_seed(settings.seed)
    network, offsets = head_for(start, data, settings.seed, settings.dimension)
    network.to(device)
    shifts = None if settings.mode == "faithful" else offsets.to(device)
    kind: Mode = "faithful" if settings.mode == "faithful" else "improved"
    parts = Counterfactuals(CounterfactualSettings(kind, network.settings.dimension)).to(device)
    known = torch.from_numpy(data.compounds.fingerprints).to(device)

    def loss_at(rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        draw = sampler.draw(settings.items, settings.bag, rng, distinct=settings.mode == "clip")
        rows = draw.treated if settings.mode != "simclr" else np.stack([draw.treated[0]] * 2)
        treated = data.bags(network, rows, rng, shifts)
        controls = data.bags(network, draw.controls, rng, shifts)
        numbers = torch.from_numpy(draw.compounds).to(device)
        doses = torch.from_numpy(data.compounds.doses[draw.treated[0, :, 0]]).to(device)
        views = Views((treated[0], treated[1]), (controls[0], controls[1]), numbers, known[numbers], doses)
        return loss_of(settings.mode, views, parts)

    yield from optimise(
        nn.ModuleDict({"network": network, "parts": parts}),
        loss_at,
        steps=settings.steps,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        what="Training the encoder",
        checkpoint=checkpoint,
        fingerprint=run_of(settings, name, data),
        device=device,
        resume=resume,
    )
    return network, parts, sampler.notes


def run_of(settings: MiconSettings, name: str, data: TrainingCells) -> str:
    """What a training depends on: a checkpoint of another one is refused."""
    compounds = data.compounds
    return fingerprint(
        settings, name, list(compounds.table["Metadata_Compound"]), compounds.numbers, compounds.doses, data.looks,
        *(list(map(str, data.metadata[one])) for one in ("Metadata_Plate", "Metadata_Well") if one in data.metadata),
    )  # fmt: skip


def _without_structure(compounds: Compounds) -> list[str]:
    """A note on the compounds that no prediction can go by, where there are any."""
    bare = list(compounds.table["Metadata_Compound"][~compounds.structures])
    return [f"no prediction goes by {bare[0]}{_and_others(len(bare) - 1)}, without a structure"] if bare else []


def _predictor(
    network: EncoderNetwork, parts: Counterfactuals, data: TrainingCells, mode: Objective
) -> Counterfactuals | StructureRegression | None:
    """What predicts the effect of a compound from its structure, where the mode has such a thing."""
    if mode == "improved":
        return structure_regression(network, data)
    return parts if mode == "faithful" else None


def _and_others(count: int) -> str:
    return f" and {count} other{'s' * (count > 1)}" if count else ""


def structure_regression(network: EncoderNetwork, data: TrainingCells) -> StructureRegression:
    """Learn from structure and dose how the cells' embeddings move from the controls of their plates."""
    encoder = CellEncoder(network)
    vectors = np.concatenate([encoder.pool(data.looks[0][i : i + 4096]) for i in range(0, len(data), 4096)])
    numbers = data.compounds.numbers
    treated = np.flatnonzero(numbers > 0)
    named, group = np.unique(
        np.column_stack([numbers[treated], data.compounds.doses[treated]]), axis=0, return_inverse=True
    )
    treatment = np.zeros(len(data), np.int64)
    treatment[treated] = group.ravel() + 1
    moved = changes(vectors, treatment, data.plates)
    number = named[:, 0].astype(int)
    known = data.compounds.structures[number - 1]
    return StructureRegression.fit(
        data.compounds.fingerprints[number[known]], named[known, 1:].astype(np.float32), moved[known]
    )


def check_training(screen: Screen, out: Path, settings: MiconSettings, overwrite: bool = False) -> Path:
    """Tell what is wrong with the table or the output folder, before any image is read; return the folder.

    Raises
    ------
    ScreenError, OutputError
        The table names no compounds, or a row of it has no structure that can be read though the mode needs them; or
        the folder holds something else.
    """
    import pandas as pd

    out = check_output(out, ENCODER, overwrite)
    compounds = number_compounds(pd.DataFrame([dict(field.metadata) for field in screen]), settings.by)
    _check_structures(settings.mode, compounds)
    return out


def _check_structures(mode: str, compounds: Compounds) -> None:
    used = np.unique(compounds.numbers[compounds.numbers > 0]) - 1
    structures = compounds.structures[used]
    few = mode == "improved" and not structures.any()
    if few or (mode in _NEEDS_EVERY_STRUCTURE and not structures.all()):
        raise _no_structures(mode, compounds)


def _no_structures(mode: str, compounds: Compounds) -> ScreenError:
    table = compounds.table
    lacking = table["Metadata_Compound"][table["SMILES"] == ""]
    which = "at least one" if mode == "improved" else "every"
    some = "" if len(lacking) == len(table) else f"{lacking.iloc[0]} has none; "
    return ScreenError(
        f"Training with mode {mode!r} needs the structure of {which} compound: {some}give them in a column "
        "Metadata_SMILES, or choose mode 'paclr', which needs none."
    )


def head_for(
    start: EncoderNetwork, data: TrainingCells, seed: int = 0, dimension: int | None = None
) -> tuple[EncoderNetwork, Tensor]:
    """Give a copy of a network a head for the channels of these cells.

    Parameters
    ----------
    dimension
        Length of the embedding; that of `start` where None, or where `start` has such a head already.

    Returns
    -------
    network
        Its features scaled as the plates' controls vary; its head at the principal components of the cells, or at that
        of `start` where it is of as many channels.
    offsets
        (p, C, length): what each plate's controls add to the features; zero where no control is marked, for then
        what a plate adds cannot be told from what its compounds do.
    """
    looks = data.looks[0]
    n, channels, length = looks.shape
    length_of_all = start.settings.dimension if start.settings.channels == channels else dimension
    sizes = {"channels": channels, "dimension": length_of_all or start.settings.dimension}
    network = EncoderNetwork(NetworkSettings(**{**start.settings.to_dict(), **sizes}))
    if start.settings.channels == channels:
        network.load_state_dict({name: value.cpu() for name, value in start.state_dict().items()})
    control = data.compounds.numbers == 0
    flat = looks.reshape(n, -1)
    plates = data.plates if control.any() else np.zeros(n, np.int64)
    scaling = PlateScaling.fit(flat, plates.tolist(), control)
    centre = np.median(scaling.centre, axis=0)
    order = np.argsort([int(name) for name in scaling.plates])
    offsets = torch.from_numpy((scaling.centre[order] - centre).reshape(-1, channels, length).astype(np.float32))
    if start.settings.channels != channels:
        spread = np.median(scaling.spread, axis=0)
        network.centre.copy_(torch.from_numpy(centre.reshape(channels, length)))
        network.spread.copy_(torch.from_numpy(np.maximum(spread, 1e-3).reshape(channels, length)))
        seen = network.scaled(torch.from_numpy(looks) - offsets[torch.from_numpy(plates)])
        some = np.random.default_rng(seed).permutation(n)[:_MOST]
        calm = np.flatnonzero(control)[:_MOST] if control.sum() > channels else some
        assert isinstance(network.head, ScreenHead)
        network.head.start_from(seen[some], seen[calm])
    return network, offsets[torch.zeros(data.plates.max() + 1, dtype=torch.long)] if not control.any() else offsets
