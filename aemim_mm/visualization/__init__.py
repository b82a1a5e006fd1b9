"""Pictures of the images, masks, attacks and reconstructions of a pre-training model."""
