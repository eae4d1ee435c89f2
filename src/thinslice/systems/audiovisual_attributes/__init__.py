"""Faces, sound, and the age, gender and emotion that others see."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(
    recipe="thinslice.systems.audiovisual_attributes.recipe:audiovisual_attributes",
    imports={"vgg-face": "thinslice.systems.audiovisual_attributes.commands:vgg_face"},
)
