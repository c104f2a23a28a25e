"""Run a command of ``phenolens`` inside the tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

from phenolens.cli.app import app


@dataclass(frozen=True)
class Ran:
    """Exit status, the last line on stderr, and the JSON object where one was asked for."""

    status: int
    error: str
    facts: dict[str, Any]
    text: str


def run(*arguments: str | Path) -> Ran:
    """Run a command; what is not a user's mistake is raised.

    The number of threads does not follow the load of this machine, for tests compare bytes, which depend on it.
    """
    with patch("phenolens.runtime.threads.thread_count", return_value=1):
        ended = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    facts = json.loads(ended.stdout) if "--json" in arguments else {}
    return Ran(ended.exit_code, (ended.stderr.splitlines() or [""])[-1], facts, ended.stdout)
