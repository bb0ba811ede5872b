"""Seeds of jobs."""

import hashlib
import json


def job_seed(study_seed: int, *names: str | int) -> int:
    """The seed of one job: 0..2**63-1, a hash of the study's seed and what tells the job apart."""
    digest = hashlib.sha256(json.dumps([study_seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
