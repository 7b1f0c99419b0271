"""From the frames of a network to words."""
