"""Design record: later."""
