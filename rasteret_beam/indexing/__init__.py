"""How a collection comes to be: items from files, STAC or tables, headers, Parquet rows."""
