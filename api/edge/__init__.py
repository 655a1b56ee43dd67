"""Hot operations: answered on the server's event loop, and by the Flask app under any other WSGI server."""
