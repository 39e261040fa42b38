"""Traffic of others as a history: read from a HAR file, or recorded as it passes through a proxy."""
