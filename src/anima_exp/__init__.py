"""QLoRA experiments you can name and repeat."""
