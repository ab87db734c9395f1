"""Recording what a daemon hears, and saying it again."""
