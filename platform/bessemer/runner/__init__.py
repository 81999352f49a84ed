"""Plans, executes and resumes recipes."""
