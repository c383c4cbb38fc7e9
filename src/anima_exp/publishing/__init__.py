"""Publish a finished run, or a folder with a model, on the Hugging Face hub."""
