"""Networks that gradients find, quickly: where a volume sampler also starts from.

A sampler that only ever comes from below cannot know of fits that nothing on the way leads to. So
it asks what training finds (``descend``), in plain numpy: a job that samples for a second cannot
wait several for torch. What is trained here decides no result; it is a place to look.

Classifiers are trained by ``adam``; what it asks of a network (``network``) is answered by
``binary`` and ``real``. ``sensing`` descends on a loss.
"""

from volumetry.methods.descent import adam, sensing  # noqa: F401, their answers
from volumetry.methods.descent.problem import descend

__all__ = ["descend"]
