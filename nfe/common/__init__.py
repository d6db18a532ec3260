"""Small helpers at the bottom: errors, files, random streams, number formats."""
