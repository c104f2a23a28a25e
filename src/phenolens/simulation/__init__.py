"""Procedural cells whose counterfactual is known: the same cell, with the same noise, under a treatment."""

from phenolens.simulation.field import SimulatedField, simulate_field
from phenolens.simulation.plates import PlateEffect, random_plate
from phenolens.simulation.screen import simulate_screen
from phenolens.simulation.styles import Style, random_style, style_for
from phenolens.simulation.treatments import TREATMENTS

__all__ = [
    "TREATMENTS",
    "PlateEffect",
    "SimulatedField",
    "Style",
    "random_plate",
    "random_style",
    "simulate_field",
    "simulate_screen",
    "style_for",
]
