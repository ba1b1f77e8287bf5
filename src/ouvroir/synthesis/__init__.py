"""Samples that a model made: what they are worth, each for itself, and where they lie."""
