"""Cross-modal fusion (Palmero et al.): sound, frames and words, and a Siamese network on their features."""
