"""The tables: schema, rows, undocumented columns, privacy."""
