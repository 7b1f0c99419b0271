"""Care of the cache: what is in it, whether it is whole, and making room."""
