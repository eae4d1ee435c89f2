"""Bi-modal First Impressions (Subramaniam et al. 2016): ordered sound and faces."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(
    recipe="thinslice.systems.bimodal.recipe:bimodal",
    imports={"bimodal": "thinslice.systems.bimodal.commands:bimodal"},
    bundles_of={"bimodal": "thinslice.systems.bimodal.weights:install_bimodal"},
)
