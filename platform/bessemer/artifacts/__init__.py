"""The data that stages exchange: artifacts, their manifests, and the tables in them."""
