"""Training that survives attacks: the wrapper of a model, and the methods it trains by."""
