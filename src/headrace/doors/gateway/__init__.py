"""The gateway: OpenAI's API over the serving room, and what every service has (health, metrics, its own description).

May import everything; FastAPI and uvicorn live here. Holds HTTP shapes and nothing that computes: no torch, no numpy.
"""
