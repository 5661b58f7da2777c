"""sink: a topic → the outside."""
