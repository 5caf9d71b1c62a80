"""What a terminal shows of a collector and of what is stored: ``top``, ``books`` and tables."""
