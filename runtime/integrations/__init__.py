"""One module for each framework or library, over the public API alone; import the one that you use."""
