"""Texts that are too long for their place end in dots."""

import numpy as np
import pytest

from phenolens.widgets.kit.eliding import ElidedComboBox


@pytest.mark.parametrize("width", [90, 140, 400])
def test_a_list_ends_its_text_in_dots_where_it_is_too_long(qtbot, width):
    name = "DNA Alexa Fluor 488 confocal 20x plane n"

    def drawn(text):
        box = ElidedComboBox()
        qtbot.addWidget(box)
        box.addItem(text)
        box.resize(width, 28)
        picture = box.grab().toImage()
        seen = np.frombuffer(picture.constBits().asstring(picture.sizeInBytes()), np.uint8)
        return seen.copy(), box

    seen, box = drawn(name)
    assert box.currentText() == name
    cut = [text for length in range(1, len(name)) if (seen == drawn(text := name[:length] + "…")[0]).all()]
    assert bool(cut) == (width < 400)
