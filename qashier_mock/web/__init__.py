"""The handlers: one module per audience, and the one room that spells JSON field names."""
