"""What finds versions besides their names: aliases, tags and searches."""
