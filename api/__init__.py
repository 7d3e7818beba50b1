"""What is asked and answered over HTTP, a module for each subject."""
