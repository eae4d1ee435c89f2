"""Collecting votes and ratings of clips: the questions, the answers on disk, whose turn is what, and what comes out."""
