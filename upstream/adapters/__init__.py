"""Models of other libraries behind our contract. Each module is imported only when a name asks for it."""
