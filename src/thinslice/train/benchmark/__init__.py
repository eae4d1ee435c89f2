"""How fast a training runs on a machine, and what it waits for."""
