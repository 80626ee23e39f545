from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

from indexer.store import jobs, tasks
from indexer.store.database import open_database
from tests.indexer.store.steps import DOCS, new_task

ROOT = Path(__file__).parents[3]
JOBS = 200
SUBJECTS = 40
PROCESSES = 4


def test_four_processes_do_every_job_once_and_never_two_of_a_subject_at_a_time(empty_url: str) -> None:
    database = open_database(empty_url)
    with database.session() as session:
        task_id = new_task(session)
        jobs.enqueue(session, task_id, DOCS, "parse", [f"source:{n % SUBJECTS}" for n in range(JOBS)], 1.0)
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.indexer.store.claimer", empty_url, f"w{n}", str(n)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(PROCESSES)
    ]
    for worker in workers:  # one that is slow to start would find that the others have done it all
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    held = []
    shares = []
    for worker in workers:
        output, _ = worker.communicate(timeout=90)
        assert worker.returncode == 0
        mine = [json.loads(line) for line in output.splitlines()]
        shares.append(len(mine))
        held += mine
    assert sorted(job_id for job_id, *_ in held) == list(range(1, JOBS + 1))
    # SQLite's writers wait by sleeping, in no order: on a busy machine one of them may find the others have done it all.
    assert sum(share > 0 for share in shares) > 1, shares
    held.sort(key=lambda row: (row[1], row[2]))
    for (_, subject, _, until), (_, next_subject, since, _) in itertools.pairwise(held):
        assert subject != next_subject or until <= since
    with database.read() as session:
        task = tasks.get(session, task_id)
    database.close()
    assert task is not None
    assert (task.state, task.succeeded) == ("succeeded", JOBS)
