"""Networks that gradients find, quickly: where a volume sampler also starts from.

A sampler that only ever comes from below cannot know of fits that nothing on the way leads to. So
it asks what training finds (``problem.descend``), in plain numpy: a job that samples for a second
cannot wait several for torch. What is trained here decides no result; it is a place to look.

``adam`` answers for classifiers; what it asks of a network (``network``) is answered by ``binary``
and ``real``. ``sensing`` answers for matrix sensing. Who needs an answer imports its module.
"""
