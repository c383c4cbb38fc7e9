"""Report on a data set before training: what is in it, what is trained on, what is left out."""
