"""From the streams into the tables, and back out by SQL."""
