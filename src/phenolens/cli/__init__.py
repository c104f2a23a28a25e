"""The command line: ``phenolens simulate``, ``pretrain``, ``finetune``, ``translate``, ``export`` and ``demo``."""


def main() -> None:
    """Run the command that the shell asked for."""
    from phenolens.runtime.interrupts import end_at_once

    end_at_once()
    from phenolens.cli.app import app

    app()
