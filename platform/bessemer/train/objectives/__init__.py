"""What a model is trained to do. The trainer knows an objective by its interface (`base.Objective`) only."""
