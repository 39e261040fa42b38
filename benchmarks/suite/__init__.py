"""The suite that is run with each pytest fixture."""
