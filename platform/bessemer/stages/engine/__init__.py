"""The machinery that several stages share: work units, training workers, rollouts and checks."""
