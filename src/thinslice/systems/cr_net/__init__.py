"""CR-Net (Li et al. 2020): classification, then regression, and trees on top."""
