"""The platform is told: events as rows, endpoints that want them, deliveries that are due."""
