"""Tables, statistics and figures, rebuilt from the files of finished runs."""
