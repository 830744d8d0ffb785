"""Pictures of models: what they predict, how sure they are, how they learnt."""
