"""MICON's contrastive losses as published, and the two baselines that it is compared with.

MICON: Yu et al., arXiv 2504.09544. All losses compare directions: rows are scaled to length 1 first. The sums over
exponentials are exact at any temperature, without a small number added to them.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

CONTROL = 0
Pair = tuple[Tensor, Tensor]
Map = Callable[[Tensor], Tensor]


def supervised_contrastive_loss(
    embeddings: Tensor, labels: Tensor, *, temperature: float | Tensor = 1.0, base_temperature: float | None = 1.0
) -> Tensor:
    """Supervised contrastive loss (Khosla et al., arXiv 2004.11362, equation 2).

    With P(i) the other rows of row i's label and s the cosine similarity, the mean over rows i of
    ``-(t / t_base) / |P(i)| sum_{p in P(i)} log( exp(s_ip / t) / sum_{a != i} exp(s_ia / t) )``.

    Parameters
    ----------
    embeddings
        (n, d) of floats.
    labels
        (n,) integers. A row that is alone with its label attracts nothing and counts as 0 in the mean.
    temperature
        t, above 0; a tensor where it is learned.
    base_temperature
        t_base; None for no factor, as where it equals the temperature.

    Raises
    ------
    ValueError
        The shapes do not fit, or no row has another of its label, so that there is nothing to learn from.
    """
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(f"expected (n, d) embeddings and (n,) labels, got {embeddings.shape} and {labels.shape}")
    unit = _unit(embeddings)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    partners = positive.sum(dim=1)
    if not bool(partners.any()):
        raise ValueError("no row shares its label with another row")
    logits = (_products(unit, unit) / temperature).masked_fill(itself, -torch.inf)
    attraction = logits.masked_fill(~positive, 0).sum(dim=1)
    loss = partners * torch.logsumexp(logits, dim=1) - attraction
    mean = (loss / partners.clamp(min=1)).mean()
    return mean if base_temperature is None else mean * (temperature / base_temperature)


def paclr_loss(
    treated: Pair,
    controls: Pair,
    compounds: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    base_temperature: float | None = 1.0,
) -> Tensor:
    """Perturbation-aware contrastive loss (PaCLR).

    The supervised contrastive loss over all four views. Images of one compound attract one another; a treated image
    repels other compounds' and every control, the one of its own plate too; all controls attract one another, whatever
    their plates.

    Parameters
    ----------
    treated
        Projections (n, d) of two images of each item's compound, from any plates.
    controls
        Projections (n, d) of a control from the plate of each of those images.
    compounds
        (n,) integers from 1; 0 means control.
    temperature, base_temperature
        As in `supervised_contrastive_loss`. Published: both 1.

    Raises
    ------
    ValueError
        A compound is numbered 0 or less, which would make its images controls, or the shapes do not fit.
    """
    _check_compounds(compounds, *treated, *controls)
    labels = torch.cat([compounds, compounds, torch.full_like(compounds, CONTROL).repeat(2)])
    views = torch.cat([*treated, *controls])
    return supervised_contrastive_loss(views, labels, temperature=temperature, base_temperature=base_temperature)


def counterfactual_paclr_loss(
    treated: Pair,
    controls: Pair,
    molecules: Tensor,
    compounds: Tensor,
    *,
    generate: Map,
    project: Map,
    temperature: float | Tensor = 1.0,
    base_temperature: float | None = 1.0,
) -> Tensor:
    """Counterfactual PaCLR: what a control plus a molecule predicts must lie with the images of that compound.

    For each of the two views the supervised contrastive loss over the projected treated images and the projected
    predictions from their controls; the mean of both. The image features are held, so that only the generator, the
    molecule's encoder and the projection learn from it.

    Parameters
    ----------
    treated, controls
        Image features (n, h), before projection, of two images of each item's compound and of a control from the plate
        of each.
    molecules
        (n, m) encoded molecules.
    compounds
        (n,) integers from 1; 0 means control.
    generate
        Maps a control's features and the molecule side by side, (n, h + m), to predicted features (n, h).
    project
        Maps features (n, h) to projections (n, d).
    temperature, base_temperature
        As in `supervised_contrastive_loss`. Published: both 1.

    Raises
    ------
    ValueError
        A compound is numbered 0 or less, or the shapes do not fit.
    """
    _check_compounds(compounds, *treated, *controls, molecules)
    losses = []
    for image, control in zip(treated, controls, strict=True):
        predicted = generate(torch.cat([control.detach(), molecules], dim=1))
        views = torch.cat([project(image.detach()), project(predicted)])
        losses.append(
            supervised_contrastive_loss(
                views, compounds.repeat(2), temperature=temperature, base_temperature=base_temperature
            )
        )
    return torch.stack(losses).mean()


def simclr_loss(one: Tensor, other: Tensor, *, temperature: float | Tensor = 0.5) -> Tensor:
    """Normalised temperature-scaled cross entropy (NT-Xent; Chen et al., arXiv 2002.05709, equation 1).

    Parameters
    ----------
    one, other
        (n, d) projections of two views of each of n images; row i of both belongs together, all else is repelled.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    _check_rows(one, other)
    labels = torch.arange(len(one), device=one.device).repeat(2)
    return supervised_contrastive_loss(torch.cat([one, other]), labels, temperature=temperature, base_temperature=None)


def clip_loss(images: Tensor, molecules: Tensor, *, temperature: float | Tensor = 0.07) -> Tensor:
    """Symmetric cross entropy between images and molecules (CLIP; Radford et al., arXiv 2103.00020, figure 3).

    Parameters
    ----------
    images, molecules
        (n, d) projections; row i of both belongs together. Every row must be another compound: a compound that comes
        twice would be repelled from itself.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    _check_rows(images, molecules)
    logits = _products(_unit(images), _unit(molecules)) / temperature
    goal = torch.arange(len(images), device=images.device)
    return (functional.cross_entropy(logits, goal) + functional.cross_entropy(logits.T, goal)) / 2


def _unit(embeddings: Tensor) -> Tensor:
    # half precision holds too few digits for similarities divided by a low temperature
    return functional.normalize(embeddings if embeddings.dtype == torch.float64 else embeddings.float(), dim=1)


def _products(one: Tensor, other: Tensor) -> Tensor:
    with torch.autocast(one.device.type, enabled=False):
        return one @ other.T


def _check_compounds(compounds: Tensor, *views: Tensor) -> None:
    if compounds.ndim != 1 or any(view.ndim != 2 or len(view) != len(compounds) for view in views):
        shapes = ", ".join(str(tuple(view.shape)) for view in views)
        raise ValueError(f"expected (n,) compounds and (n, d) views, got {tuple(compounds.shape)} and {shapes}")
    if bool((compounds <= CONTROL).any()):
        raise ValueError(f"compounds must be numbered from 1, as {CONTROL} means control; got {int(compounds.min())}")


def _check_rows(one: Tensor, other: Tensor) -> None:
    if one.ndim != 2 or one.shape != other.shape:
        raise ValueError(f"expected two (n, d) tensors of one shape, got {tuple(one.shape)} and {tuple(other.shape)}")
