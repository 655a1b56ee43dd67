"""How runtimes turn rows of JSON into what a library takes, and its labels back."""
