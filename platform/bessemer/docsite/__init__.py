"""The quickstart's web sites: the documentation inside this Python installation, rendered, and served on loopback."""
