"""The figures of a comparison, each a sum over pairs with a report of its own."""
