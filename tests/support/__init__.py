"""What several tests share: servers, stand-ins, small models, made-up records."""
