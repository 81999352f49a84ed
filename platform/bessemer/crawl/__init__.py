"""Fetching web pages politely: which URLs, in which order, under which rules, and what came of each."""
