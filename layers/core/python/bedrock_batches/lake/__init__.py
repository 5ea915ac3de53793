"""The lake's catalog: how it is opened, and the SQL that others are made of."""
