"""What tests of environments need: other interpreters, and wheels that are made on the fly."""
