"""One blueprint a resource; a route parses, makes one call and returns."""
