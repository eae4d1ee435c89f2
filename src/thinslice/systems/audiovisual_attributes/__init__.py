"""Faces, sound, and the age, gender and emotion that others see."""

from typing import Final

from thinslice.systems.system import System

SYSTEM: Final = System(recipe="thinslice.systems.audiovisual_attributes.recipe:audiovisual_attributes")
