"""Maps: many inputs as jobs of bulk calls, their outcomes in order, and the progress that is shown."""
