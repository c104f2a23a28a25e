"""Fields that could not be done: noted where the results are, and said at the end."""

from collections.abc import Mapping, Sequence

from phenolens.runtime.engines.work import Outcome
from phenolens.runtime.errors import FieldsFailed
from phenolens.runtime.manifest import Manifest

_NAMED = 3  # fields whose reasons a message has


def known_failures(manifest: Manifest, keys: Sequence[str]) -> dict[str, str]:
    """Why fields could not be done when they were last tried."""
    return {key: why for key in keys if (why := manifest.failed(key)) is not None}


def new_failures(manifest: Manifest, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Why fields could not be done now; noted where no worker could do so, for it was ended."""
    for outcome in outcomes:
        if outcome.error is not None and manifest.failed(outcome.key) is None:
            manifest.fail(outcome.key, str(outcome.error))
    return {one.key: str(one.error) for one in outcomes if one.error is not None}


def raise_failed(
    failed: Mapping[str, str], total: int, outcomes: Sequence[Outcome], done: str, rest: str, what: str = "fields"
) -> None:
    """Raise where fields could not be done: the one error where that is all there was to do.

    Parameters
    ----------
    done
        What could not be done with them, such as ``"translated"``.
    rest
        What became of the others.
    what
        What they are.

    Raises
    ------
    FieldsFailed
        Some fields could not be done.
    """
    if not failed:
        return
    if total == 1 and outcomes and outcomes[0].error is not None:
        raise outcomes[0].error
    said = " ".join(why if key in why else f"{key}: {why}" for key, why in list(failed.items())[:_NAMED])
    more = f" And {len(failed) - _NAMED} more." if len(failed) > _NAMED else ""
    raise FieldsFailed(
        f"{len(failed)} of {total} {what} could not be {done}, {rest}. {said}{more} Mend them and start again with "
        "--retry-failed.",
        failed,
    )
