"""All comparisons, in the order in which they are run."""

from collections.abc import Mapping
from typing import Final

from thinslice.conform.authors import AUTHORS
from thinslice.conform.comparison import Comparison
from thinslice.conform.losses import LOSSES
from thinslice.conform.measures import MEASURES
from thinslice.conform.networks import NETWORKS

COMPARISONS: Final[Mapping[str, Comparison]] = {
    comparison.name: comparison for comparison in (*NETWORKS, *LOSSES, *AUTHORS, *MEASURES)
}
"""Name -> comparison."""
