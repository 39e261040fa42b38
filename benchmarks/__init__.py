"""Side-by-side measurements; `python -m benchmarks` (or `make bench`) runs them and prints ratios."""
