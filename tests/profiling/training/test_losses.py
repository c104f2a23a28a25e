"""MICON's losses against slow references and by hand, what they must not learn from, and the baselines."""

import math

import pytest
import torch
from torch import Tensor

from phenolens.profiling.training.losses import (
    clip_loss,
    counterfactual_paclr_loss,
    paclr_loss,
    simclr_loss,
    supervised_contrastive_loss,
)


def views(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


def slow_contrastive(rows: list[list[float]], labels: list[int], t: float, base: float) -> float:
    total = 0.0
    for i, anchor in enumerate(rows):
        others = sum(math.exp(cosine(anchor, rows[a]) / t) for a in range(len(rows)) if a != i)
        partners = [p for p in range(len(rows)) if p != i and labels[p] == labels[i]]
        for p in partners:
            total -= t / base * math.log(math.exp(cosine(anchor, rows[p]) / t) / others) / len(partners)
    return total / len(rows)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.05])
def test_equals_a_slow_reference(temperature: float) -> None:
    rows, labels = views(12, 5), [1, 2, 3, 1, 2, 3, 0, 0, 0, 0, 1, 9]
    expected = slow_contrastive(rows.tolist(), labels, temperature, 1.0)
    found = supervised_contrastive_loss(rows, torch.tensor(labels), temperature=temperature)
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_paclr_by_hand() -> None:
    # one compound; both treated images at 0 degrees, one control at 90 and one at 180
    along, across, against = torch.tensor([[2.0, 0]]), torch.tensor([[0, 0.5]]), torch.tensor([[-1.0, 0]])
    e = math.e
    from_treated = -math.log(e / (e + 1 + 1 / e))  # to its partner (1), across (0), against (-1)
    from_across = -math.log(1 / (1 + 1 + 1))  # at right angles to all three
    from_against = -math.log(1 / (1 / e + 1 / e + 1))  # its partner is at 90 degrees
    expected = (2 * from_treated + from_across + from_against) / 4
    found = paclr_loss((along, along), (across, against), torch.tensor([1]))
    assert expected == pytest.approx(0.6163172, abs=1e-6)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_counterfactual_paclr_by_hand() -> None:
    # two compounds at right angles; predictions are exact in view 1 and exchanged in view 2
    one, other = [1.0, 0.0], [0.0, 1.0]
    treated = torch.tensor([one, other])
    predicted = {1.0: torch.tensor([one, other]), 2.0: torch.tensor([other, one])}
    found = counterfactual_paclr_loss(
        (treated, treated),
        (torch.full((2, 2), 1.0), torch.full((2, 2), 2.0)),
        torch.zeros(2, 3),
        torch.tensor([1, 2]),
        generate=lambda joined: predicted[float(joined[0, 0])],
        project=lambda features: features,
    )
    exact, exchanged = -math.log(math.e / (math.e + 2)), -math.log(1 / (math.e + 2))
    assert (exact + exchanged) / 2 == pytest.approx(1.0514449, abs=1e-6)
    assert float(found) == pytest.approx((exact + exchanged) / 2, abs=1e-6)


def test_paclr_equals_a_slow_reference() -> None:
    t1, t2, c1, c2 = (views(4, 6, seed=seed) for seed in range(4))
    compounds = [3, 1, 3, 2]
    rows = [row for view in (t1, t2, c1, c2) for row in view.tolist()]
    expected = slow_contrastive(rows, compounds * 2 + [0] * 8, 0.2, 1.0)
    found = paclr_loss((t1, t2), (c1, c2), torch.tensor(compounds), temperature=0.2)
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_counterfactual_paclr_equals_a_slow_reference() -> None:
    t1, t2, c1, c2, molecules = (views(4, 6, seed=seed) for seed in range(5))
    generator, projection = views(12, 6, seed=5), views(6, 3, seed=6)
    compounds, expected = [1, 2, 1, 3], 0.0
    for image, control in ((t1, c1), (t2, c2)):
        predicted = torch.cat([control, molecules], dim=1) @ generator
        rows = torch.cat([image @ projection, predicted @ projection]).tolist()
        expected += slow_contrastive(rows, compounds * 2, 1.0, 1.0) / 2
    found = counterfactual_paclr_loss(
        (t1, t2),
        (c1, c2),
        molecules,
        torch.tensor(compounds),
        generate=lambda joined: joined @ generator,
        project=lambda features: features @ projection,
    )
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_the_counterfactual_teaches_all_but_the_image_encoder() -> None:
    images = [views(4, 6, seed=seed).requires_grad_() for seed in range(4)]
    molecules, generator, projection = (
        views(*shape, seed=seed).requires_grad_() for seed, shape in ((4, (4, 6)), (5, (12, 6)), (6, (6, 3)))
    )
    counterfactual_paclr_loss(
        (images[0], images[1]),
        (images[2], images[3]),
        molecules,
        torch.tensor([1, 2, 3, 4]),
        generate=lambda joined: joined @ generator,
        project=lambda features: features @ projection,
    ).backward()
    assert all(image.grad is None for image in images)
    for learner in (molecules, generator, projection):
        assert learner.grad is not None
        assert learner.grad.abs().max() > 0


def test_controls_are_repelled_by_treated_images_and_attracted_by_one_another() -> None:
    treated, near, far = views(1, 8), views(1, 8, seed=1), views(1, 8, seed=2)
    compounds = torch.tensor([1])

    def loss(c1: Tensor, c2: Tensor) -> float:
        return float(paclr_loss((treated, treated), (c1, c2), compounds))

    assert loss(near, near) < loss(near, far)
    assert loss(-treated, -treated) < loss(near, near) < loss(treated, treated)


def test_a_treated_image_cannot_pass_as_a_control() -> None:
    view, compounds = views(3, 4), torch.tensor([1, 0, 2])
    with pytest.raises(ValueError, match="numbered from 1, as 0 means control; got 0"):
        paclr_loss((view, view), (view, view), compounds)
    with pytest.raises(ValueError, match="numbered from 1"):
        counterfactual_paclr_loss(
            (view, view), (view, view), view, compounds, generate=lambda joined: joined[:, :4], project=lambda f: f
        )


def test_low_temperatures_neither_overflow_nor_lose_the_repulsion() -> None:
    # a small number added to the denominator would drown exp(-2 / 0.05), and with it the gradient
    rows = torch.tensor([[1.0, 0.01], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.01]]).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1])
    found = supervised_contrastive_loss(rows, labels, temperature=0.005, base_temperature=None)
    found.backward()
    assert float(found.detach()) == pytest.approx(2 / 0.005, rel=1e-3)
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
    far = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [-0.6, 0.8]], dtype=torch.float64)
    alone = [0, 1, 0, 2, 3]
    assert float(supervised_contrastive_loss(far, torch.tensor(alone), temperature=0.05)) == pytest.approx(
        slow_contrastive(far.tolist(), alone, 0.05, 1.0), rel=1e-9
    )


def test_half_precision_views_are_compared_in_single() -> None:
    rows, labels = views(16, 32).half(), torch.arange(8).repeat(2)
    expected = supervised_contrastive_loss(rows.double(), labels, temperature=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = supervised_contrastive_loss(rows, labels, temperature=0.05)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_gradients_are_those_of_the_function() -> None:
    labels = torch.tensor([1, 1, 2, 2, 3])
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    rows = views(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda given, t: supervised_contrastive_loss(given, labels, temperature=t), (rows, temperature)
    )


def test_order_and_length_of_rows_do_not_matter() -> None:
    rows, labels = views(9, 4), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    expected = supervised_contrastive_loss(rows, labels)
    torch.testing.assert_close(supervised_contrastive_loss(3 * rows[order], labels[order]), expected)


def test_base_temperature_only_scales() -> None:
    rows, labels = views(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    plain = supervised_contrastive_loss(rows, labels, temperature=0.2, base_temperature=None)
    scaled = supervised_contrastive_loss(rows, labels, temperature=0.2, base_temperature=0.4)
    torch.testing.assert_close(scaled, plain / 2)


def test_simclr_equals_a_slow_reference() -> None:
    one, other = views(5, 4), views(5, 4, seed=1)
    rows, total = [*one.tolist(), *other.tolist()], 0.0
    for i in range(10):
        others = [math.exp(cosine(rows[i], rows[k]) / 0.5) for k in range(10) if k != i]
        total -= math.log(math.exp(cosine(rows[i], rows[(i + 5) % 10]) / 0.5) / sum(others))
    assert float(simclr_loss(one, other)) == pytest.approx(total / 10, abs=1e-10)


def test_clip_equals_a_slow_reference() -> None:
    images, molecules = views(5, 4), views(5, 4, seed=1)
    score = [[math.exp(cosine(i, m) / 0.1) for m in molecules.tolist()] for i in images.tolist()]
    total = 0.0
    for i in range(5):
        total -= math.log(score[i][i] / sum(score[i])) / 2
        total -= math.log(score[i][i] / sum(row[i] for row in score)) / 2
    assert float(clip_loss(images, molecules, temperature=0.1)) == pytest.approx(total / 5, abs=1e-10)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(n, d\) embeddings"):
        supervised_contrastive_loss(views(4, 3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="no row shares its label"):
        supervised_contrastive_loss(views(4, 3), torch.arange(4))
    with pytest.raises(ValueError, match=r"expected \(n,\) compounds"):
        paclr_loss((views(4, 3), views(4, 3)), (views(4, 3), views(3, 3)), torch.arange(1, 5))
    with pytest.raises(ValueError, match="of one shape"):
        simclr_loss(views(4, 3), views(5, 3))
    with pytest.raises(ValueError, match="of one shape"):
        clip_loss(views(4, 3), views(4, 2))
