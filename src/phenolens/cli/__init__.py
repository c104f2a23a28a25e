"""The command line: ``phenolens simulate``, ``pretrain``, ``finetune``, ``translate``, ``export`` and ``demo``."""


def main() -> None:
    """Run the command that the shell asked for."""
    from phenolens.runtime.interrupts import as_command

    with as_command():
        from phenolens.cli.app import app

        app()
