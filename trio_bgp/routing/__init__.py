"""What a received UPDATE means for whom: tables, receivers, what each is sent."""
