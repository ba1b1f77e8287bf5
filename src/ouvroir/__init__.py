"""Ouvroir: teach models from your own files, see honestly whether they got better, and use them."""

__version__ = "0.1.0"
