"""The memory of a worker's model hosts: what versions need, what hosts use, and who may have how much of the budget."""
