"""`--learn`: biases, ranges and weights of the int8 graph learned by gradient, kept where that wins."""

from edgeconv.export.learn.report import LearnReport

__all__ = ["LearnReport"]
