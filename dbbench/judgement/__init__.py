"""How claims are judged: pure functions of numbers, and the judgement of an experiment that every view renders."""
