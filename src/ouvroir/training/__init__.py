"""The training loop and what it needs, for every task alike."""
