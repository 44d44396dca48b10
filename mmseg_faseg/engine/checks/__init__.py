"""What is looked at before a run, each check a function; the hooks that run them lie one up."""
