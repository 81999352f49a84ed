"""Tokenization: tokenizers, chat templates, and the token store."""
