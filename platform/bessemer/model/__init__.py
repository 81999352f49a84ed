"""The language model: its shape, its network, and its exchange with Hugging Face folders."""
