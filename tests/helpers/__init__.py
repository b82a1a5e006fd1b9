"""What tests share: tiny models, trained networks, runs of tools, processes, and small data sets."""
