"""How a deployment serves: its settings, and how a version of it is rolled out."""
