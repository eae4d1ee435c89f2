"""What papers print, and what was measured here: figures as tables, and their reader."""
