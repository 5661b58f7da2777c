"""serve: versions → answers and feedback."""
