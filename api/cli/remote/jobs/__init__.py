"""Commands that submit jobs, show, cancel and repeat them."""
