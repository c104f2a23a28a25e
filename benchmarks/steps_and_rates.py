"""How many steps a fine-tuning takes, at which learning rate: one table over six data sets.

    python benchmarks/steps_and_rates.py [--treatment NAME ...] [--translocation DATA] [--protein DATA]
        [--way 900,0.001 ...]

A way is a number of steps and the highest learning rate of the LoRA weights. The data sets, what is judged on them and
what is not, are those of ``loss_weights.py``: styles and wells on which nothing else is judged.
Prints a Markdown table.
"""

from loss_weights import compared

from phenolens.translation.training.finetuning import FinetuneSettings

WAYS = ("900,0.001", "450,0.003")


def settings_of(way: str, options) -> FinetuneSettings:
    steps, rate = way.split(",")
    return FinetuneSettings(steps=int(steps), learning_rate=float(rate), max_cells=100, preview_every=0)


if __name__ == "__main__":
    compared(__doc__, WAYS, "STEPS,RATE", settings_of)
