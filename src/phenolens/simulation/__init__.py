"""Procedural cells whose counterfactual is known: the same cell, with the same noise, under a treatment."""

from phenolens.simulation.compound_screen import simulate_compound_screen
from phenolens.simulation.compounds import Compound, compound_library
from phenolens.simulation.field import SimulatedField, simulate_field
from phenolens.simulation.mechanisms import MECHANISMS, Effect, compound_style, random_effect
from phenolens.simulation.plates import PlateEffect, random_plate
from phenolens.simulation.screen import simulate_screen
from phenolens.simulation.styles import Style, random_style, style_for
from phenolens.simulation.treatments import TREATMENTS

__all__ = [
    "MECHANISMS",
    "TREATMENTS",
    "Compound",
    "Effect",
    "PlateEffect",
    "SimulatedField",
    "Style",
    "compound_library",
    "compound_style",
    "random_effect",
    "random_plate",
    "random_style",
    "simulate_compound_screen",
    "simulate_field",
    "simulate_screen",
    "style_for",
]
