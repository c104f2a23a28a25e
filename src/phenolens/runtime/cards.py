"""Cards: what is known of an adapter, an encoder or an atlas, as JSON beside its weights, with a number of its format.

A newer minor format (1.1 beside 1) has fields that are not known here: they are kept, and written again. A newer major
one (2) is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from phenolens.runtime.errors import ModelError
from phenolens.runtime.files import plain


def kept(read: Callable[[Any], Any], default: Any = None, name: str = "") -> Any:
    """A field of a card.

    Parameters
    ----------
    read
        Makes the value of what JSON holds; raises ValueError or TypeError where it is none.
    default
        Where the card says nothing, or null; such a value is not written.
    name
        What it is called in the file, where that is another name than in Python.
    """
    return field(default=default, metadata={"read": read, "name": name})


@dataclass(frozen=True, kw_only=True)
class Card:
    """What all cards share.

    Parameters
    ----------
    format
        Number of the format; its whole part rises when older versions could no longer read the card.
    further
        Fields that are not known here, as JSON has them.
    """

    NEWEST: ClassVar[int] = 1
    format: float = 1
    further: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """All that it says, as JSON has it, but for the number of the format."""
        known = {
            one.metadata["name"] or one.name: plain(value)
            for one in fields(self)
            if "read" in one.metadata and (value := getattr(self, one.name)) != one.default
        }
        return {**known, **self.further}

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON has it."""
        return {"format": self.format, **self.facts()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Read a card; `check_format` comes first.

        Raises
        ------
        ValueError, TypeError
            A field is not what it should be.
        """
        left = dict(found)
        known: dict[str, Any] = {"format": left.pop("format", cls.NEWEST)}
        for one in fields(cls):
            if "read" in one.metadata and (value := left.pop(one.metadata["name"] or one.name, None)) is not None:
                known[one.name] = one.metadata["read"](value)
        return cls(**known, further=left)

    @classmethod
    def check_format(cls, found: Mapping[str, Any], what: str) -> None:
        """Raise `ModelError` where the card of `what` is of a format that is newer than this version.

        A card without a number is of the time before there was one, and is read.

        Raises
        ------
        ValueError
            The number is none.
        """
        number = found.get("format", cls.NEWEST)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= 1:
            raise ValueError(f"its format is {str(number)[:20]!r}, and no number from 1")
        if number >= cls.NEWEST + 1:
            raise ModelError(
                f"{what} has format {number:g} and this version of phenolens reads up to {cls.NEWEST}: "
                "update napari-phenolens."
            )


def text(value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, and not {str(value)[:60]!r}")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"names were expected, and not {str(value)[:60]!r}")
    return tuple(value)


def numbers(value: Any) -> tuple[float, ...]:
    """Read a list of numbers."""
    return tuple(float(one) for one in value)


def named(read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """Read an object, each of its values by `read`."""
    return lambda value: {str(key): read(one) for key, one in dict(value).items()}


def anything(value: Any) -> Any:
    """Take a value as it is."""
    return value
