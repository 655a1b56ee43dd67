"""Tables as inputs: cells to values by the signature of an endpoint, predictions to columns. Imports no pandas."""
