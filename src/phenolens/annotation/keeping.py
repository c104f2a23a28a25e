"""Annotations that are kept in a journal: each change is on the disk at once, and all of them come back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from phenolens.annotation.annotations import Annotations
from phenolens.annotation.journal import Journal
from phenolens.runtime.errors import AnnotationError, OutputError

KIND = "annotations"
_LONG = 2000


@contextmanager
def kept_annotations(path: str | os.PathLike[str]) -> Iterator[Annotations]:
    """Open the annotations of a journal, or begin with none, and write each change to it as it is made.

    What was undone and what can be undone come back too. A journal of more than 2,000 steps is written anew when it is
    opened, without the steps.

    Raises
    ------
    OutputError
        The file cannot be written, is no such journal, or does not fit together.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "annotations.journal"
    >>> with kept_annotations(path) as annotations:
    ...     _ = annotations.add_class("mitotic")
    >>> with kept_annotations(path) as annotations:
    ...     [one.name for one in annotations.classes]
    ['mitotic']
    """
    with Journal(path, KIND) as journal:
        annotations = Annotations()
        for number, record in enumerate(journal.records, start=2):
            try:
                annotations.repeat(record)
            except AnnotationError as error:
                raise OutputError(f"Line {number} of the journal {path} does not fit: {error}") from error
        if len(journal.records) > _LONG:
            journal.replace([annotations.record()])
        journal.records.clear()
        annotations.recorded.connect(journal.append)
        try:
            yield annotations
        finally:
            annotations.recorded.disconnect(journal.append)
