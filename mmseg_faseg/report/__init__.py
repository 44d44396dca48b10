"""What a run came to, in one page: numbers are read first, then drawn, then written as HTML."""
