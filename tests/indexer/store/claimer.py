"""A worker process of `test_claims.py`: claims and finishes until nothing is left; prints what it held, and when."""

from __future__ import annotations

import json
import random
import sys
import time

from indexer.store import jobs
from indexer.store.database import open_database


def work(url: str, name: str, seed: int) -> None:
    """Do jobs; one line of JSON each: job, subject, the seconds at which it was claimed and about to be finished."""
    chance = random.Random(seed)
    database = open_database(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    while True:
        with database.session() as session:
            claimed = jobs.claim(session, name, ["parse"], chance.randint(1, 9), time.time(), 60.0)
        since = time.monotonic()
        if not claimed:
            with database.read() as session:
                if not jobs.counts(session):
                    break
            time.sleep(0.002)
            continue
        time.sleep(chance.uniform(0, 0.01))
        until = time.monotonic()
        with database.session() as session:
            jobs.finish(session, name, [job.job_id for job in claimed], time.time())
        for job in claimed:
            sys.stdout.write(json.dumps([job.job_id, job.subject, since, until]) + "\n")
    database.close()


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]))
