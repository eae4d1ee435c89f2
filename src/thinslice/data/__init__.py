"""Corpora and their manifests."""
