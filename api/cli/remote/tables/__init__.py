"""`queuecast predict --csv` and `--parquet`: the rows of a table as inputs, their predictions as a table."""
