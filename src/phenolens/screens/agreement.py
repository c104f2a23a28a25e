"""That the fields of a screen have the same channels."""

from phenolens.runtime.errors import ImageError
from phenolens.screens.images import FieldImage


class Agreement:
    """The channels of the first field read, with which all others must agree."""

    def __init__(self) -> None:
        self._first: tuple[str, tuple[str, ...]] | None = None

    def check(self, key: str, image: FieldImage) -> None:
        if self._first is None:
            self._first = (key, image.channel_names)
        first, names = self._first
        if len(names) != image.n_channels:
            raise ImageError(
                f"Field {key} has {image.n_channels} channels ({', '.join(image.channel_names)}), but field "
                f"{first} has {len(names)} ({', '.join(names)}); all fields need the same channels."
            )
        if names != image.channel_names and sorted(names) == sorted(image.channel_names):
            raise ImageError(
                f"Field {key} has its channels in the order {', '.join(image.channel_names)}, but field "
                f"{first} has {', '.join(names)}; save them in one order."
            )
