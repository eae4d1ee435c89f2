"""Named arrays computed from one clip under a frozen spec."""
