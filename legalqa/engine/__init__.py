"""One interface to every model that answers; evaluation and the service use the same."""
