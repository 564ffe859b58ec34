"""What ran and what runs, as HTTP. Each docstring is the reference of its endpoint."""
