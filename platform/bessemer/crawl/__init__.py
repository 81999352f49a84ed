"""Fetching web pages politely: which URLs, in which order, under which rules, and with which outcomes."""
