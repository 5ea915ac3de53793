"""Reading the user's file and writing the results."""
