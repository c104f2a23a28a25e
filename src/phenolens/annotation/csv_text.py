"""Text in CSV tables that comes back as it was, and that no spreadsheet takes for a formula."""

from phenolens.annotation.changes import Value

# What a spreadsheet may run begins so (OWASP, "CSV injection"), the wide forms included; "'" itself is the mark.
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")  # fmt: skip
_MARK = "'"


def safe_text(text: str) -> str:
    """Return `text` with a mark ``'`` before it where a spreadsheet might run it."""
    return _MARK + text if text.startswith(_STARTS) else text


def original_text(cell: str) -> str:
    """Return what `safe_text` was given."""
    return cell.removeprefix(_MARK) if cell.startswith(_MARK) else cell


def value_text(value: Value) -> str:
    """Return a value of an own column as text; text that looks like a number or a truth value is marked."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return safe_text(value) if isinstance(value_of(value), str) else _MARK + value


def value_of(cell: str) -> Value:
    """Return the value that a cell of an own column stands for: a number, a truth value, or text."""
    if cell.startswith(_MARK):
        return cell.removeprefix(_MARK)
    if cell in ("true", "false"):
        return cell == "true"
    try:
        whole = int(cell)
        return whole if -(2**63) <= whole < 2**63 else float(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell
