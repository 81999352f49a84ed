"""The language model: its configuration, its network, and import from and export to Hugging Face folders."""
