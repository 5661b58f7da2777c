"""Counter: a kind of a third party. It counts the rows of a StreamConnector into a topic of its own."""
