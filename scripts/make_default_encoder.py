"""Make the encoder that is shipped: ``python scripts/make_default_encoder.py --images ../shared/data/permissive``.

Pre-trains with the settings of `EncoderPretrainSettings`, goes on from the checkpoints in --work where there are some,
and writes src/phenolens/encoders/default with its MODEL_CARD.md.
"""

import argparse
import json
import shutil
from pathlib import Path

from phenolens.cli.console import reporting
from phenolens.profiling.training.pretraining import EncoderPretrainSettings, pretrain_encoder
from phenolens.runtime.files import writing
from phenolens.runtime.output_kinds import ENCODER
from phenolens.runtime.outputs import writing_output

OUT = Path(__file__).resolve().parents[1] / "src" / "phenolens" / "encoders" / "default"
_CARD = """\
# The default encoder of napari-phenolens

Crops of single cells, with any channels in any order, to embeddings of 128 numbers. Each channel is measured alike, by
52 classical measurements without weights; a small network joins the channels and was trained to tell conditions apart
whatever the staining, focus and exposure. It is meant for a first map and for neighbours in a screen that has been
trained on by nobody; `phenolens micon train` makes an encoder that knows a screen and its compounds.

Licence of the weights: BSD-3-Clause, as the package.

## Data

{crops:,} crops of {domains} data sets: simulated styles, each untreated and under treatments, seen in two batches, and
these images, whose licences allow it:

{sources}

## Recipe

{recipe}

## Limits

It has seen few real cells, and effects that a simulator draws. Its distances are not calibrated: whether a neighbour
means something is what `phenolens micon evaluate` tells. docs/encoder.md has the figures.

Made by `python scripts/make_default_encoder.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build") / "default_encoder")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    settings = EncoderPretrainSettings()
    with reporting("make_default_encoder", as_json=False) as console:
        job = pretrain_encoder(arguments.work, arguments.images, settings, arguments.device)
        made = console.follow(job, lambda: f"checkpoints are in {arguments.work}")
        card = json.loads((made / "card.json").read_text(encoding="utf-8"))
        card["name"] = "default"
        with writing_output(OUT, ENCODER) as new:
            shutil.copy(made / "encoder.safetensors", new)
            with writing(new / "card.json") as file:
                file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
            text = _CARD.format(
                crops=card["crops"],
                domains=card["domains"],
                sources="\n".join(f"- {line}" for line in card["attribution"]),
                recipe="\n".join(f"- {name}: {value}" for name, value in card["recipe"].items()),
            )
            with writing(new / "MODEL_CARD.md") as file:
                file.write_text(text, encoding="utf-8")
        console.done(f"Wrote {OUT}", encoder=str(OUT))


if __name__ == "__main__":
    main()
