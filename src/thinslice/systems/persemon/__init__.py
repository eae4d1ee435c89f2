"""PersEmoN (Zhang, Peng, Winkler): personality and emotion learned together from faces."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(
    recipe="thinslice.systems.persemon.recipe:persemon",
    imports={"sphereface": "thinslice.systems.persemon.commands:sphereface"},
    commands={"emotion": "thinslice.systems.persemon.commands:emotion"},
)
