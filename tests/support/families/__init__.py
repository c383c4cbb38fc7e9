"""Try every family of causal language models of the installed transformers, built small."""
