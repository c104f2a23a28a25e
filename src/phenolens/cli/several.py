"""Options that take several values after one flag: ``--strength 0 0.5 1``."""

from typing import Any

from typer.core import TyperCommand


def spread(arguments: list[str], options: frozenset[str]) -> list[str]:
    """Repeat a flag before each of the numbers that follow it: ``--strength 0 1`` to ``--strength 0 --strength 1``.

    Only numbers are taken, so that a path after them stays an argument; one that is itself a number is given
    as ``./5``.
    """
    result: list[str] = []
    flag = ""
    for place, argument in enumerate(arguments):
        if argument == "--":
            return result + arguments[place:]
        if argument in options:
            flag = argument
            result.append(flag)
        elif flag and _is_number(argument):
            result += [argument] if result[-1] == flag else [flag, argument]
        else:
            flag = ""
            result.append(argument)
    return result


class SeveralValues(TyperCommand):
    """A command whose options of many values may be given once with all of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = frozenset(name for one in self.params if getattr(one, "multiple", False) for name in one.opts)
        return super().parse_args(ctx, spread(args, options))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
