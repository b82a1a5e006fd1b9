"""Pictures of what a pre-training model sees and reconstructs."""
