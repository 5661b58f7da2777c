"""embed: texts → vectors, from an embedding process or a service."""
