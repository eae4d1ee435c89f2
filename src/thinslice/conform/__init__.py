"""Conformity: thinslice's networks, losses and features beside independent implementations, with equal weights."""
