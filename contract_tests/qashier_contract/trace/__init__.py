"""A violation as a recorded trace: written to a file and read back, made shorter, sent again, shown as a script."""
