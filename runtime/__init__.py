"""Object storage for applications: open the backends that the infrastructure was provisioned with."""
