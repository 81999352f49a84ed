"""Fetches web pages politely: selects URLs, orders them, obeys the rules of their sites, and records the outcomes."""
