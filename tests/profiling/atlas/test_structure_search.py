"""What a compound is predicted to do: one vector for one compound, however it is written and whoever asks."""

import numpy as np
import pytest

from phenolens.profiling.atlas.structure_search import predict_compound, search_structure
from phenolens.profiling.tables.profiles import is_control
from phenolens.runtime.errors import ModelError, ScreenError
from phenolens.runtime.progress import finish
from plain_encoder import ASPIRIN, CAFFEINE, PlainEncoder, known_compounds, made_up_atlas


@pytest.fixture(scope="module")
def atlas():
    return made_up_atlas(6000)


def test_a_prediction_starts_from_at_most_a_thousand_controls_and_names_the_nearest_compound(atlas) -> None:
    encoder = PlainEncoder(known_compounds())
    encoder.counterfactual = lambda controls, smiles, dose: controls + (dose or 0)  # type: ignore[assignment, misc]
    controls = np.flatnonzero(is_control(atlas.profiles.metadata))
    assert len(controls) > 1000
    made = finish(predict_compound(atlas, encoder, CAFFEINE))
    assert (made.applicability.similarity, made.applicability.compound) == (1.0, "caffeine")
    used = controls[np.arange(1000) * len(controls) // 1000]
    assert np.allclose(made.vector, atlas.vectors[used].mean(0), atol=1e-4)
    assert not np.allclose(made.vector, finish(predict_compound(atlas, encoder, CAFFEINE, dose=1.0)).vector, atol=0.1)


def test_one_compound_has_one_vector_however_it_is_written(atlas) -> None:
    encoder = PlainEncoder(known_compounds())
    one, salt = (
        finish(predict_compound(atlas, encoder, smiles)) for smiles in (ASPIRIN, "[Na+].CC(=O)Oc1ccccc1C([O-])=O")
    )
    assert one.smiles == salt.smiles
    assert np.array_equal(one.vector, salt.vector)
    found = finish(search_structure(atlas, encoder, ASPIRIN)).prediction
    assert np.array_equal(found.vector, one.vector)


def test_rows_of_the_users_choice_can_be_taken_as_untreated(atlas) -> None:
    encoder = PlainEncoder(known_compounds())
    encoder.counterfactual = lambda controls, smiles, dose: controls  # type: ignore[assignment, misc]
    made = finish(predict_compound(atlas, encoder, ASPIRIN, rows=np.array([7])))
    assert np.array_equal(made.vector, atlas.vectors[7])


def test_what_cannot_be_predicted_is_said(atlas) -> None:
    encoder = PlainEncoder(known_compounds())
    with pytest.raises(ScreenError, match="cannot be read as SMILES"):
        finish(predict_compound(atlas, encoder, "CC("))
    with pytest.raises(ScreenError, match="negative control"):
        finish(predict_compound(atlas, encoder, ASPIRIN, rows=np.array([], int)))
    with pytest.raises(ModelError, match="knows no compounds"):
        finish(predict_compound(atlas, PlainEncoder(), ASPIRIN))
