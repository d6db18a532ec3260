"""What no method should have to think about: data, training, evaluation, cost, suites."""
