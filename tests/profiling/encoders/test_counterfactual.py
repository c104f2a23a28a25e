"""The counterfactual half of MICON, and the defects of the published code that must not come back."""

import numpy as np
import pytest
import torch

from phenolens.profiling.encoders.counterfactual import Counterfactuals, CounterfactualSettings, dose_features
from phenolens.profiling.encoders.encoder import CellEncoder, check_encoder, load_encoder
from phenolens.profiling.encoders.encoder_card import EncoderCard
from phenolens.profiling.encoders.network import EncoderNetwork, NetworkSettings
from phenolens.profiling.molecules.baselines import changes, mean_shift, nearest_compound
from phenolens.profiling.molecules.molecules import fingerprints, molecule_key
from phenolens.profiling.training.objectives import OBJECTIVES, Views, loss_of
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.screens.intensity import IntensityMap

SMALL = NetworkSettings(token=16, dimension=12)


def parts(mode, seed=0):
    torch.manual_seed(seed)
    return Counterfactuals(CounterfactualSettings(mode, dimension=12, hidden=16, projection=8)).eval()


def an_encoder(mode="improved"):
    import pandas as pd

    torch.manual_seed(0)
    table = pd.DataFrame({"Metadata_Compound": ["aspirin"], "SMILES": ["CC(=O)Oc1ccccc1C(=O)O"]})
    intensity = IntensityMap("affine", ("DNA", "Actin"), (0.0, 0.0), (100.0, 200.0))
    network = EncoderNetwork(SMALL)
    return CellEncoder(
        network, EncoderCard(name="x"), intensity=intensity, counterfactuals=parts(mode), compounds=table
    )


def test_the_control_compound_changes_nothing():
    net = parts("improved")
    code = net.encode(torch.rand(3, 2048), torch.zeros(3, 2), controls=torch.tensor([True, False, True]))
    control = torch.randn(3, 12)
    made = net.generate(torch.cat([control, code], dim=1))
    assert torch.equal(made[[0, 2]], control[[0, 2]])
    assert not torch.allclose(made[1], control[1])


@pytest.mark.parametrize("mode", ["faithful", "improved"])
def test_the_control_compound_however_written_moves_no_cell(mode):
    encoder = an_encoder(mode)
    encoder.card = EncoderCard(controls=(molecule_key("CS(C)=O"),))
    controls = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    assert np.array_equal(encoder.counterfactual(controls, "C[S+](C)[O-]"), controls)
    assert not np.allclose(encoder.counterfactual(controls, "CCO"), controls)


def test_faithful_sees_no_dose_and_predicts_the_features_themselves():
    net = parts("faithful")
    seen = torch.rand(2, 2048)
    assert torch.equal(net.encode(seen, torch.zeros(2, 2)), net.encode(seen, torch.ones(2, 2)))
    both = torch.randn(2, 24)
    assert torch.equal(net.generate(both), net.generator(both))


def test_dose_moves_an_improved_prediction():
    encoder = an_encoder()
    control = np.zeros((1, 12), np.float32)
    low, high = (encoder.counterfactual(control, "CCO", dose) for dose in (0.1, 10.0))
    assert not np.allclose(low, high)
    assert np.array_equal(dose_features([10.0, None, 0.0]), [[1, 1], [0, 0], [0, 0]])


def test_the_fingerprint_fits_the_molecule_encoder_as_configured():
    # The published default has encoders for 2048 bits and fingerprints of 1024.
    net = Counterfactuals(CounterfactualSettings())
    code = net.encode(torch.from_numpy(fingerprints(["CCO", "c1ccccc1O"])), torch.zeros(2, 2))
    assert code.shape == (2, 128)


@pytest.mark.parametrize("mode", ["faithful", "improved"])
def test_counterfactuals_can_be_exported(mode, tmp_path):
    # The published export calls a method that is not there.
    encoder = an_encoder(mode)
    encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    controls = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    one, other = encoder.counterfactual(controls, "CCO", 1.0), again.counterfactual(controls, "OCC", 1.0)
    assert one.shape == (4, 12)
    assert np.allclose(one, other, atol=1e-5)
    assert list(again.compounds["Metadata_Compound"]) == ["aspirin"]
    assert again.channel_names == ("DNA", "Actin")


def test_crops_are_mapped_alike_in_training_and_in_use(tmp_path):
    # The published code divides by 255 in training only.
    encoder = an_encoder()
    raw = np.random.default_rng(0).uniform(0, 100, (3, 2, 64, 64)).astype(np.float32)
    mapped = np.stack([encoder.intensity.forward(crop) for crop in raw])
    assert np.array_equal(encoder.embed(raw), encoder.pool(encoder.features(mapped)))


def test_an_embedding_does_not_depend_on_its_company():
    encoder = an_encoder()
    raw = np.random.default_rng(0).uniform(0, 100, (5, 2, 64, 64)).astype(np.float32)
    assert np.allclose(encoder.embed(raw)[3:4], encoder.embed(raw[3:4]), atol=1e-5)


def test_any_channels_in_any_order():
    torch.manual_seed(0)
    network = EncoderNetwork(SMALL).eval()
    crops = torch.randn(2, 4, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(network(crops), network(crops[:, [2, 0, 3, 1]]), atol=1e-5)
        padded = torch.cat([crops, torch.randn(2, 1, 64, 64)], dim=1)
        used = torch.tensor([[1.0, 1, 1, 1, 0]] * 2)
        assert torch.allclose(network(padded, used), network(crops), atol=1e-5)
        assert network(crops[:, :1]).shape == (2, 12)


def test_what_an_encoder_refuses(tmp_path):
    encoder = an_encoder()
    other = IntensityMap("affine", ("DNA", "Tubulin"), (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ModelError, match=r"DNA, Actin.*DNA, Tubulin"):
        encoder.embed(np.zeros((1, 2, 64, 64), np.float32), other)
    bare = CellEncoder(EncoderNetwork(SMALL))
    with pytest.raises(ModelError, match="knows no compounds"):
        bare.counterfactual(np.zeros((1, 12)), "CCO")
    with pytest.raises(ModelError, match="intensity map"):
        bare.embed(np.zeros((1, 2, 64, 64), np.float32))
    with pytest.raises(ScreenError):
        encoder.counterfactual(np.zeros((1, 12)), "C1CC", None)
    with pytest.raises(ModelError, match="neither 'default' nor an existing folder"):
        load_encoder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="is not an encoder"):
        load_encoder(tmp_path / "empty")
    encoder.save(tmp_path / "broken")
    (tmp_path / "broken" / "encoder.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(ModelError, match="cannot be read"):
        load_encoder(tmp_path / "broken")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_objective_teaches_what_it_should(objective):
    net = parts("faithful" if objective == "faithful" else "improved").train()
    torch.manual_seed(1)
    images = [torch.randn(4, 12, requires_grad=True) for _ in range(4)]
    seen = torch.from_numpy(fingerprints(["CCO", "CCN", "c1ccccc1", "CCC(=O)O"]))
    views = Views((images[0], images[1]), (images[2], images[3]), torch.tensor([1, 2, 3, 4]), seen, torch.zeros(4, 2))
    loss_of(objective, views, net).backward()
    assert images[0].grad.abs().sum() > 0
    by_controls = images[2].grad is not None and bool(images[2].grad.abs().sum() > 0)
    assert by_controls == (objective in ("faithful", "improved", "paclr"))
    molecules = net.molecules[0].weight.grad
    assert (molecules is not None) == (objective in ("faithful", "improved", "clip"))
    generator = net.generator[0].weight.grad
    assert (generator is not None) == (objective in ("faithful", "improved"))


def test_baselines_of_known_answer():
    vectors = np.array([[0.0, 0], [1, 0], [3, 0], [10, 10], [11, 10], [10, 14]])
    numbers = np.array([0, 0, 1, 0, 1, 2])
    plates = np.array([0, 0, 0, 1, 1, 1])
    moved = changes(vectors, numbers, plates)
    assert np.allclose(moved, [[1.75, 0], [0, 4]])
    controls = np.array([[5.0, 5.0]])
    assert np.allclose(mean_shift(controls, moved), [[5.875, 7.0]])
    known = fingerprints(["CCO", "c1ccccc1C(=O)O"])
    asked = fingerprints(["c1ccccc1C(=O)OC"])[0]
    assert np.allclose(nearest_compound(controls, moved, known, asked), [[5, 9]])


def test_without_controls_changes_are_from_the_mean_of_all():
    vectors = np.array([[0.0, 0], [2, 0], [4, 6]])
    moved = changes(vectors, np.array([1, 2, 2]), np.array([0, 0, 1]))
    assert np.allclose(moved, [[-2, -2], [1, 1]])


def test_an_encoder_trained_again_is_not_taken_for_the_one_before(tmp_path):
    encoder = an_encoder()
    encoder.save(tmp_path / "encoder")
    before = load_encoder(tmp_path / "encoder")
    profiles = {"encoder_sha256": before.sha256}
    check_encoder(before, profiles)
    check_encoder(before, {})
    with torch.no_grad():
        encoder.network.head.join[3].bias.add_(1)
    encoder.save(tmp_path / "encoder")
    with pytest.raises(ModelError, match="is not the one that made these profiles"):
        check_encoder(load_encoder(tmp_path / "encoder"), profiles)
