"""What the stages share: work units, training workers, rollouts and checks."""
