"""Entities from a trained pipeline, exactly as spaCy finds them, each with a probability.

Shared by the trainer, which measures how far the probabilities can be believed, and the server.
"""
