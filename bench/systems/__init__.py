"""What is compared: each system started as processes of its own, behind one interface."""
