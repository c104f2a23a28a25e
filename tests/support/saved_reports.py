"""The report.json of an evaluation whose answers are of all three kinds."""

from typing import Any

CONTROL, TREATED = "Metadata_Role=negative control", "Metadata_Compound=translocation"


def made_up_report() -> dict[str, Any]:
    """A new report each time, to be changed at will."""
    effects = (
        ("reporter ratio", "both", (6.3, 6.0, 6.6), (5.4, 5.2, 5.7)),
        ("reporter spread", "translated only", (0.2, -0.4, 0.7), (2.6, 2.2, 3.2)),
        ("nucleus area", "not tested", (-1.0, None, None), (0.0, None, None)),
    )
    table = [
        {
            "feature": name,
            **dict(zip(("real", "real low", "real high"), real, strict=True)),
            "real q": 0.01,
            **dict(zip(("translated", "translated low", "translated high"), shown, strict=True)),
            "translated q": None,
            "called": called,
        }
        for name, called, real, shown in effects
    ]
    doses = [
        {"dose": name, "the adapter's": own, "wells": 2, "distance": at, "distance, low": low, "distance, high": 0.9}
        for name, own, at, low in (("control", "", 0.8, 0.7), ("8", "yes", 0.2, 0.1), ("9", "", 0.3, None))
    ]
    flips = {"translated": bounds(0.78, 0.73, 0.83), "control": bounds(0.03, 0.0, 0.07), "p_value": 0.005,
             "relabelled": {"mean": 0.39, "low": 0.03, "high": 0.77, "draws": 199},
             "treated": bounds(0.98, None, None)}  # fmt: skip
    return {
        "facts": {
            "conditions": [CONTROL, TREATED],
            "held_out": True,
            "control_cells": 60,
            "treated_cells": 58,
            "control_wells": ["plate1/A05", "plate1/A07"],
            "treated_wells": ["plate1/A06"],
        },
        "notes": ["Only 1 new well of a condition: the classifier also learns from the others."],
        "parts": {
            "flips": part("Flip rate", "78% look treated.", True, flips),
            "changes": part("What changed", "Effects are too small.", False, {"slope": bounds(0.5, 0.4, 0.6)}, table),
            "novel": part("A newer question", "It is so.", True, {"its_figure": bounds(0.4, -0.2, 0.9), "draws": 5}),
            "doses": part("Dose", "Closest to dose 8.", True, {"own": [8.0], "closest": 8.0}, doses),
            "memorisation": part("Memorisation", "Not measured: it was not asked for.", None, {}),
        },
        "evaluated": "adapter on screen",
    }


def bounds(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    """A figure with its interval."""
    return {"value": value, "low": low, "high": high}


def part(title: str, verdict: str, good: bool | None, figures: Any, table: Any = None) -> dict[str, Any]:
    """One answer."""
    return {
        "title": title,
        "verdict": verdict,
        "measured": good is not None,
        "good": good,
        "notes": ["A note on it."],
        "figures": figures,
        "table": table,
    }
