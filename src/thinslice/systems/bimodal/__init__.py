"""Bi-modal First Impressions (Subramaniam et al. 2016): ordered sound and faces."""
