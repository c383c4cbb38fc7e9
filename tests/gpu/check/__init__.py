"""The GPU check: is everything right on this GPU, and how fast is it? See docs/gpu.md."""
