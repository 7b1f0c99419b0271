"""What a run will take: rates measured on this machine, and for each cell the features that are cheaper."""
