"""Where state is kept: dumb rooms behind one protocol, without rules and without time."""
