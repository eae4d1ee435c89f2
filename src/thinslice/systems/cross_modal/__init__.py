"""Cross-modal fusion (Palmero et al.): sound, frames and words, and a Siamese network on their features."""

from typing import Final

from thinslice.systems.system import System

SYSTEM: Final = System(recipe="thinslice.systems.cross_modal.recipe:cross_modal")
