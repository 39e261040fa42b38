"""The handlers, one module per audience, and the modules that spell JSON field names."""
