"""A finished run or a folder with a model -> a repository on the Hugging Face hub."""
