"""What is built of this repository for others to install: `make dist`."""
