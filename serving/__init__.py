"""What only the service needs."""
