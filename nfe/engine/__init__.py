"""How a run is made: training, checkpoints, prediction, timing."""
