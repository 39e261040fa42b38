"""Targets for the checker's own tests, apart from the mock."""
