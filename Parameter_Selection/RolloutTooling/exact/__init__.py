"""The exact value of every state of a finite world under every intervention."""
