"""Judge the answers of several models in pairs, with a judge model or with reference answers."""
