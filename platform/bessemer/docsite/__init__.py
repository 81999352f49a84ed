"""The web sites that the quickstart crawls: renders the documentation of this Python installation and serves it."""
