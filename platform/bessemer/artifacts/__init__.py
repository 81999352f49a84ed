"""What passes between stages: artifacts, their manifests, and the tables inside them."""
