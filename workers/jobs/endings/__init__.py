"""What the script that ends jobs hands on: callbacks, and the stream of the journal."""
