"""The HTTP server in this process: an event loop in front, threads for the WSGI app, and bodies that keep coming."""
