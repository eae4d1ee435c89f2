"""Bundles and the predictor that runs them. Never imports torch."""
