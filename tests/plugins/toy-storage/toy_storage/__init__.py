"""Objects in a toy box: what a distribution of somebody else looks like."""
