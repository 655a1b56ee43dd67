"""The HTTP server in this process: Granian's listener, and the bodies that stop coming."""
