"""Memory and time of training steps, measured and explained (docs/performance.md).

Nothing here knows an architecture: what is profiled is `Trainer.train_step` of any configuration, on a random batch of the
shapes that its data card gives.
"""
