"""The cells of many fields: found by whoever does the fields, measured, and written as labels and one table."""
