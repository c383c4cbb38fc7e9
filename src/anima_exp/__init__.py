"""QLoRA experiments you can name, sweep and compare."""
