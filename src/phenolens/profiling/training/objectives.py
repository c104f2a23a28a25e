"""What an encoder is trained for: MICON, as published or improved, and the baselines in the same code."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from phenolens.profiling.encoders.counterfactual import Counterfactuals
from phenolens.profiling.training.losses import (
    clip_loss,
    counterfactual_paclr_loss,
    paclr_loss,
    simclr_loss,
    supervised_contrastive_loss,
)

Objective = Literal["faithful", "improved", "paclr", "clip", "simclr"]
OBJECTIVES: tuple[Objective, ...] = ("faithful", "improved", "paclr", "clip", "simclr")


@dataclass(frozen=True)
class Views:
    """Embeddings and molecules of one training step.

    Parameters
    ----------
    treated, controls
        Two tensors (items, d) each.
    compounds
        (items,) numbers from 1.
    fingerprints, doses
        (items, bits) and (items, 2).
    """

    treated: tuple[Tensor, Tensor]
    controls: tuple[Tensor, Tensor]
    compounds: Tensor
    fingerprints: Tensor
    doses: Tensor


def loss_of(objective: Objective, views: Views, parts: Counterfactuals) -> Tensor:
    """The loss of one step.

    ``faithful`` is PaCLR + the counterfactual PaCLR with temperatures of 1 (Yu et al., arXiv 2504.09544); ``paclr`` the
    first term alone. ``improved`` learns the temperature and lets the counterfactual term shape the image features as
    well. ``clip`` aligns images with molecules, ``simclr`` two views of an image, which needs no compound.
    """
    project = parts.project
    if objective in ("faithful", "paclr"):
        treated, controls = _projected(views.treated, parts), _projected(views.controls, parts)
        loss = paclr_loss(treated, controls, views.compounds)
        if objective == "paclr":
            return loss
        code = parts.encode(views.fingerprints, views.doses)
        return loss + counterfactual_paclr_loss(
            views.treated, views.controls, code, views.compounds, generate=parts.generate, project=project
        )
    if objective == "improved":
        return _improved(views, parts)
    if objective == "clip":
        code = project(parts.encode(views.fingerprints, views.doses))
        sides = [clip_loss(project(image), code, temperature=parts.temperature()) for image in views.treated]
        return torch.stack(sides).mean()
    return simclr_loss(*_projected(views.treated, parts), temperature=parts.temperature())


def _improved(views: Views, parts: Counterfactuals) -> Tensor:
    temperature = parts.temperature()
    treated, controls = _projected(views.treated, parts), _projected(views.controls, parts)
    loss = paclr_loss(treated, controls, views.compounds, temperature=temperature, base_temperature=None)
    code = parts.encode(views.fingerprints, views.doses)
    made = [parts.project(parts.generate(torch.cat([control, code], dim=1))) for control in views.controls]
    known = views.fingerprints.sum(1) > 0
    if int(known.sum()) < 2:
        return loss
    # A prediction from one batch must find its compound in the other one, among all compounds and controls.
    numbers = views.compounds
    labels = torch.cat([numbers, numbers[known], torch.zeros_like(numbers)])
    crossed = [
        supervised_contrastive_loss(
            torch.cat([image, prediction[known], control]), labels, temperature=temperature, base_temperature=None
        )
        for image, prediction, control in zip(treated, reversed(made), controls, strict=True)
    ]
    return loss + torch.stack(crossed).mean()


def _projected(images: tuple[Tensor, Tensor], parts: Counterfactuals) -> tuple[Tensor, Tensor]:
    return parts.project(images[0]), parts.project(images[1])
