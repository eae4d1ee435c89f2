"""CR-Net (Li et al. 2020): classification, then regression, and trees on top."""

from typing import Final

from thinslice.systems.folder import SystemFolder

SYSTEM: Final = SystemFolder(recipe="thinslice.systems.cr_net.recipe:cr_net")
