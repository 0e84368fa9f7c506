"""The HTTP/1.1 client of the drivers; `client` is what they use, the other modules are its parts."""
