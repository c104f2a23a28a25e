"""A small plate translated from the command line."""

from pathlib import Path

from cli_run import Ran, run

OPTIONS = ("--strength", "0", "1", "--steps", "2", "--cells", "whole", "--alpha", "0", "--json")


def translate(adapter: Path, plate: Path, out: Path, *more: str) -> Ran:
    """Run the command with `OPTIONS`."""
    return run("translate", adapter, plate, "--out", out, *OPTIONS, *more)
