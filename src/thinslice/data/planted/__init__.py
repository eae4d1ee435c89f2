"""Synthetic talking heads whose labels have known causes. docs/planted-data.md says what they prove and what not."""
