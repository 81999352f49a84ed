"""Bessemer: raw text in, a trained, evaluated, aligned and served language model out."""

__version__ = "0.1.0"
