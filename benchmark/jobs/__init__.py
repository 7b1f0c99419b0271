"""The work of a command as jobs, and the processes that do them."""
