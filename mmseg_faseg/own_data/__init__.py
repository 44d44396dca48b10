"""Photos and label maps in folders: what is in them, what is wrong, and a config made for them."""
