"""Deep Impression (Güçlütürk et al. 2016): raw sound and raw frames, end to end."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(
    recipe="thinslice.systems.deep_impression.recipe:deep_impression",
    imports={"deep-impression": "thinslice.systems.deep_impression.commands:deep_impression"},
)
