"""Cross-modal fusion (Palmero et al.): sound, frames and words, and a Siamese network on their features."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(recipe="thinslice.systems.cross_modal.recipe:cross_modal")
