"""Stand-ins for Pulumi's cloud providers, whose resources live on emulators of this machine."""
