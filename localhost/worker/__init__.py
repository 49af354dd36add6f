"""The worker process: runs the user's code in the app's own Python."""
