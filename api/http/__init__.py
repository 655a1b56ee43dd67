"""HTTP without features: requests, responses, errors, and the server that carries them."""
