"""Alignment: losses on preferences and rewards, the rewards themselves, and answers to give them to."""
