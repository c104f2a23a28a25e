"""Training an encoder: resumed it is the run itself, every mode learns, and what it knows of compounds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from phenolens.pretraining.pretraining_sets import CropSet
from phenolens.profiling.encoders.counterfactual import dose_features
from phenolens.profiling.encoders.encoder import CellEncoder, load_encoder
from phenolens.profiling.encoders.network import EncoderNetwork, NetworkSettings, ScreenHead
from phenolens.profiling.molecules.molecules import fingerprints
from phenolens.profiling.molecules.structure_regression import StructureRegression
from phenolens.profiling.training import pretraining
from phenolens.profiling.training.objectives import OBJECTIVES
from phenolens.profiling.training.pretraining import EncoderPretrainSettings, pretrain_encoder
from phenolens.profiling.training.training import MiconSettings, fit, head_for, structure_regression, train_encoder
from phenolens.profiling.training.training_cells import TrainingCells, number_compounds
from phenolens.runtime.checkpoints import Checkpoints
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import finish
from phenolens.screens.cells import find_cells
from planted_cells import CHANNELS, LENGTH, SMALL, SMILES, noise_screen, planted, same, start_network


@pytest.fixture(scope="module")
def start() -> EncoderNetwork:
    return start_network()


@pytest.fixture(scope="module")
def data() -> TrainingCells:
    return planted()


@pytest.mark.parametrize("mode", ["improved", "faithful"])
def test_resumed_training_gives_the_weights_of_an_uninterrupted_run(data, start, mode, tmp_path):
    settings = MiconSettings(mode=mode, **SMALL)
    network, parts, _ = finish(fit(start, data, settings))
    checkpoint = tmp_path / "training.pt"
    for stop in (3, 5):
        job = fit(start, data, settings, checkpoint=checkpoint)
        while next(job).step < stop:
            pass
        job.close()
        assert Checkpoints(checkpoint).about().step == stop
        torch.rand(7)  # what others draw in between makes no difference
    again, same_parts, _ = finish(fit(start, data, settings, checkpoint=checkpoint))
    assert same(network, again)
    assert same(parts, same_parts)
    with pytest.raises(ModelError, match="other settings or another screen"):
        finish(fit(start, data, MiconSettings(mode=mode, **{**SMALL, "bag": 5}), checkpoint=checkpoint))
    others = replace(data, looks=data.looks + np.float32(0.01))
    with pytest.raises(ModelError, match="other settings or another screen"):
        finish(fit(start, others, settings, checkpoint=checkpoint))


def test_training_leaves_the_random_numbers_of_others_alone(data, start):
    job = fit(start, data, MiconSettings(**SMALL))
    next(job)
    before = torch.random.get_rng_state()
    next(job)
    assert torch.equal(torch.random.get_rng_state(), before)
    job.close()


@pytest.mark.parametrize("mode", OBJECTIVES)
def test_every_mode_lowers_its_loss(data, start, mode):
    settings = MiconSettings(mode=mode, steps=40, items=6, bag=4, learning_rate=3e-3)
    losses = [now.values["loss"] for now in fit(start, data, settings)]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02


def test_without_controls_the_notes_say_what_stands_in(start):
    *_, notes = finish(fit(start, planted(controls=False), MiconSettings(mode="paclr", **SMALL)))
    assert notes == ["2 of 2 plates have no control: their other compounds serve as reference"]


def test_a_mode_that_needs_structures_refuses_to_go_without(start):
    for mode in ("improved", "faithful", "clip"):
        with pytest.raises(ScreenError, match="choose mode 'paclr'"):
            finish(fit(start, planted(structures=False), MiconSettings(mode=mode, **SMALL)))
    finish(fit(start, planted(structures=False), MiconSettings(mode="simclr", **{**SMALL, "steps": 1})))


def test_the_head_starts_at_the_principal_components(data, start):
    network, offsets = head_for(start, data)
    assert isinstance(network.head, ScreenHead)
    assert network.settings.channels == CHANNELS
    looks, control = torch.from_numpy(data.looks[0]), torch.from_numpy(data.compounds.numbers == 0)
    medians = torch.stack(
        [looks[control & torch.from_numpy(data.plates == plate)].quantile(0.5, 0) for plate in (0, 1)]
    )
    torch.testing.assert_close(offsets[0] - offsets[1], medians[0] - medians[1], atol=1e-4, rtol=1e-4)
    embedded = network.pool(looks - offsets[torch.from_numpy(data.plates)]).detach()
    covariance = torch.cov(embedded.T)
    variance = covariance.diagonal()
    assert (covariance - torch.diag(variance)).abs().max() < 1e-3 * variance.max()
    assert (variance.diff() <= 0).all()
    # Six effects have five directions beside that of their mean, which the first six axes hold.
    assert variance[:6].sum() > 3 * variance[6:].sum()
    wide = EncoderNetwork(NetworkSettings(token=16, dimension=128))
    assert (head_for(wide, data)[0].head.join.weight[CHANNELS * LENGTH :] == 0).all()  # type: ignore[index]


def test_training_goes_on_from_a_head_of_as_many_channels(data, start):
    network, _ = head_for(start, data)
    with torch.no_grad():
        network.head.join.weight.mul_(2)  # type: ignore[operator]
    again, _ = head_for(network, data)
    assert same(network, again)


def test_compounds_are_numbered_by_structure():
    table = pd.DataFrame(
        {
            "Metadata_Compound": ["DMSO", "drug", "drug hydrochloride", "other", "drug", "vehicle"],
            "Metadata_SMILES": ["CS(C)=O", "CCN(CC)CCO", "Cl.OCCN(CC)CC", "CCO", "CCN(CC)CCO", None],
            "Metadata_Role": ["negative control", *["treated"] * 4, "Negative Control"],
            "Metadata_Concentration": [0, 1, 1, 1, 10, 0],
        }
    )
    compounds = number_compounds(table)
    assert compounds.numbers.tolist() == [0, 1, 1, 2, 1, 0]
    assert compounds.table["Metadata_Compound"].tolist() == ["drug", "other"]
    assert compounds.structures.all()
    assert not compounds.fingerprints[0].any()
    assert np.array_equal(compounds.fingerprints[1:], fingerprints(["CCN(CC)CCO", "CCO"]))
    np.testing.assert_allclose(compounds.doses[:, 0], [0, 0, 0, 0, 1, 0])
    assert compounds.doses[:, 1].tolist() == [0, 1, 1, 1, 1, 0]
    apart = number_compounds(table, "treatment")
    assert len(set(apart.numbers[[1, 4]])) == 2
    assert apart.numbers[[0, 5]].tolist() == [0, 0]
    assert all("at" in name for name in apart.table["Metadata_Compound"])


def test_names_stand_in_for_structures_that_are_not_given():
    table = pd.DataFrame({"Metadata_Compound": ["a", "b", "a"], "Metadata_SMILES": ["", "CCO", None]})
    compounds = number_compounds(table)
    assert compounds.numbers.tolist() == [1, 2, 1]
    assert compounds.table["SMILES"].tolist() == ["", "CCO"]
    assert not compounds.structures.all()
    with pytest.raises(ScreenError, match="Row 2 of column Metadata_Compound names no compound"):
        number_compounds(pd.DataFrame({"Metadata_Compound": ["a", None]}))
    with pytest.raises(ScreenError, match="Training needs a column Metadata_Compound"):
        number_compounds(pd.DataFrame({"Metadata_Plate": ["P1"]}))


def test_doses_reach_the_regression(start):
    data = planted(doses=(1.0, 100.0))
    network, _ = head_for(start, data)
    knows = structure_regression(network, data)
    assert sorted(knows.doses[:, 0].tolist()) == [0.0] * 6 + [2.0] * 6
    known = fingerprints([SMILES[1]])
    low, middle, high = (np.linalg.norm(knows.predict(known, dose_features([dose]))) for dose in (1.0, 10.0, 100.0))
    assert low < middle < high
    assert high > 3 * low


def test_regression_on_structures_known_answers():
    rng = np.random.default_rng(0)
    known, doses = fingerprints(SMILES[1:]), dose_features([10.0] * 6)
    changes = rng.normal(size=(6, 5))
    fitted = StructureRegression.fit(known, doses, changes)
    for row in range(6):
        made = fitted.predict(known[[row]], doses[[row]])[0]
        cosine = made @ changes[row] / np.linalg.norm(made) / np.linalg.norm(changes[row])
        assert cosine > 0.9
        assert 0.7 < np.linalg.norm(made) / np.linalg.norm(changes[row]) < 1.3
    assert np.array_equal(fitted.predict(known, doses), fitted.predict(known, doses))
    alone = StructureRegression.fit(known[:1], doses[:1], changes[:1])
    np.testing.assert_allclose(alone.predict(known[:1], doses[:1])[0], changes[0] / 1.1, rtol=1e-6)
    stranger = fingerprints(["C=C"])
    assert np.abs(fitted.predict(stranger, doses[:1])).max() < 1e-6
    assert np.abs(alone.predict(known[:1], dose_features([1e-6]))).max() < 1e-6, "ten million times less does nothing"


def test_a_whole_screen_is_trained_on_and_the_card_has_the_notes(tmp_path):
    screen = noise_screen(controls=False)
    cells = finish(find_cells(screen, "whole"))
    out = tmp_path / "encoder"
    settings = MiconSettings(steps=2, items=4, bag=2, views=2)
    trained = finish(train_encoder(screen, cells, out, settings=settings, device="cpu"))
    assert trained.card.notes == ("2 of 2 plates have no control: their other compounds serve as reference",)
    loaded = load_encoder(out)
    assert loaded.card == trained.card
    assert loaded.folder == trained.folder == str(out.resolve())
    assert loaded.channel_names == ("DNA", "Actin")
    assert isinstance(loaded.network.head, ScreenHead)
    assert not (tmp_path / "encoder.partial").exists()
    crops = np.stack([field.image().plane() for field in screen])
    one, other = trained.embed(crops), loaded.embed(crops)
    np.testing.assert_array_equal(one, other)
    controls = np.zeros((2, loaded.dimension), np.float32)
    assert loaded.counterfactual(controls, SMILES[1]).any()
    with pytest.raises(ScreenError, match="cannot be read"):
        loaded.counterfactual(controls, "CC(C")


def test_a_job_that_is_stopped_before_its_first_step_leaves_nothing(tmp_path):
    screen = noise_screen()
    cells = finish(find_cells(screen, "whole"))
    job = train_encoder(screen, cells, tmp_path / "encoder", settings=MiconSettings(steps=2), device="cpu")
    next(job)
    job.close()
    assert list(tmp_path.iterdir()) == []


def test_pretraining_resumes_and_writes_an_encoder_for_any_channels(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def crop_sets(domain, conditions, channels):
        return [
            CropSet(domain, c, rng.normal(size=(4, channels, 64, 64)).astype(np.float16), "Somebody")
            for c in conditions
        ]

    plain = crop_sets("plain", ("", "treated"), 2)
    effects = crop_sets("effects", ("a", "b", "c"), 3)

    def given(sets):
        def gather(*_):
            return sets
            yield

        return gather

    monkeypatch.setattr(pretraining, "gather_sets", given(plain))
    monkeypatch.setattr(pretraining, "gather_effects", given(effects))
    settings = EncoderPretrainSettings(steps=3, domains=2, cells=4)
    whole = finish(pretrain_encoder(tmp_path / "whole", settings=settings, device="cpu"))
    job = pretrain_encoder(tmp_path / "part", settings=settings, device="cpu")
    while next(job).step < 2:
        pass
    job.close()
    assert not (tmp_path / "part" / "encoder").exists()
    part = finish(pretrain_encoder(tmp_path / "part", settings=settings, device="cpu"))
    name = "encoder.safetensors"
    assert (whole / name).read_bytes() == (part / name).read_bytes()
    loaded = load_encoder(part)
    assert (loaded.channel_names, loaded.compounds) == (None, None)
    assert loaded.card.attribution == ("Somebody",)
    features = loaded.features(rng.normal(size=(3, 4, 64, 64)).astype(np.float32))
    embedded = loaded.pool(features)
    np.testing.assert_allclose(embedded, loaded.pool(features[:, ::-1]), atol=1e-5, err_msg="channels have no order")
    assert isinstance(loaded, CellEncoder)
