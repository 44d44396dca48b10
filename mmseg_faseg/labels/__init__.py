"""Annotations in the formats of labelling tools, and the label maps that are painted from them."""
