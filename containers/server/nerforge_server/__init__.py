"""Serves one pinned model version over HTTP: named entities for the texts it is sent."""
