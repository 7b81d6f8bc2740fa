"""Jobs under `kill -9`: of the server, of workers, of Redis; nothing is lost, nothing that must not is done twice (docs/jobs.md)."""

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cozyd.jobs.trigger import id_of
from tests.support.client import Client
from tests.support.jobs_process import RUNS
from tests.support.redis import RedisServer
from tests.support.serving import Served, eventually

PROGRAM = [sys.executable, "-m", "tests.support.jobs_process"]
JOBS = "io.cozy.jobs"


class Server(Served):
    """A server with the workers of the tests."""

    program = PROGRAM

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environ={RUNS: str(folder.parent / "runs")} | dict(environ or {}))

    def runs(self) -> list[list[str]]:
        """Word, job, process, time of each line."""
        path = self.folder.parent / "runs"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def count(self, word: str, id: str) -> int:
        return sum(line[:2] == [word, id] for line in self.runs())


class WorkerProcess(Server):
    """`cozyd worker` beside a server."""

    command = "worker"

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(server.folder, server.environ)
        self.folder = server.folder
        self.name = f"worker{number}"

    def start(self, *, within: float = 20) -> float:
        before = self.log().count("waiting for jobs") if (self.folder.parent / f"{self.folder.name}.log").exists() else 0
        began = time.monotonic()
        self._answers = lambda: self.log().count("waiting for jobs") > before  # type: ignore[method-assign]
        super().start(within=within)
        return time.monotonic() - began


class Work:
    """Pushes jobs from some threads, and remembers which were accepted."""

    def __init__(self, client: Client, total: int) -> None:
        self.client = client
        self.accepted: dict[str, str] = {}
        self._left = list(range(total))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._push) for _ in range(4)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def _push(self) -> None:
        while True:
            with self._lock:
                if not self._left:
                    return
                number = self._left.pop()
            worker = "once" if number % 4 == 0 else "short"
            while not self._accepted(worker):
                time.sleep(0.05)

    def _accepted(self, worker: str) -> bool:
        try:
            made = self.client.api("POST", f"/jobs/queue/{worker}", {"data": {"attributes": {"arguments": {}}}})
        except Exception:  # noqa: BLE001 - the server is dead; whether it got this one nobody knows
            return False
        if made.status != 202:
            return False
        self.accepted[made.json["data"]["id"]] = worker
        return True


def states(client: Client, ids: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for start in range(0, len(ids), 500):
        answer = client.api("POST", f"/data/{JOBS}/_all_docs?include_docs=true", {"keys": ids[start : start + 500]}).json
        found.update(row["doc"]["state"] if row.get("doc") else "lost" for row in answer["rows"])
    return found


def are_over(client: Client, ids: list[str]) -> bool:
    try:
        found = states(client, ids)
    except Exception:  # noqa: BLE001 - it is being started again
        return False
    return found["queued"] == found["running"] == 0


def judge(server: Server, work: Work, client: Client, *, kills: int) -> None:
    """0 lost; once-only jobs begun once at most; the others at most one run too many."""
    ids = list(work.accepted)
    found = states(client, ids)
    assert found["lost"] == 0
    begun = Counter(line[1] for line in server.runs() if line[0] == "begin")
    ended = Counter(line[1] for line in server.runs() if line[0] == "end")
    once = [id for id, worker in work.accepted.items() if worker == "once"]
    others = [id for id, worker in work.accepted.items() if worker != "once"]
    assert max(begun[id] for id in once) <= 1
    assert all(ended[id] >= 1 for id in others if begun[id])
    assert max(begun[id] for id in others) <= 2
    failed = [id for id in others if not ended[id]]
    assert failed == []
    twice = sum(begun[id] > 1 for id in others)
    print(f"{len(ids)} jobs, {kills} kills: 0 lost, {twice} run again, {found['errored']} errored")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One without Redis, running when a test begins and when it ends."""
    made = Server(tmp_path_factory.mktemp("alone") / "data")
    made.add_alice()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server, scope=(JOBS, "io.cozy.triggers", "io.cozy.things"))


class Farm:
    """A server that runs no jobs, and two workers, over one Redis."""

    def __init__(self, folder: Path, *, keeps: bool) -> None:
        self.redis = RedisServer(folder, keeps=keeps).start()
        self.server = Server(folder / "data", {"COZYD_REDIS_URL": self.redis.url, "COZYD_JOBS_IN_SERVER": "no"})
        self.server.add_alice()
        self.workers = [WorkerProcess(self.server, number) for number in (1, 2)]
        self.server.start()
        for worker in self.workers:
            worker.start()
        self.client = Client(self.server, scope=(JOBS,))

    def restart_redis(self) -> None:
        self.redis.kill()
        time.sleep(0.5)
        self.redis.start()

    def restart(self, process: Server) -> Callable[[], None]:
        def step() -> None:
            process.kill()
            process.start()

        return step

    def close(self) -> None:
        for process in (*self.workers, self.server):
            process.stop()
        self.redis.kill()


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    made = Farm(tmp_path_factory.mktemp("farm"), keeps=False)
    yield made
    made.close()


class Orphan:
    """A job whose worker was killed while it ran."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.id = farm.client.api("POST", "/jobs/queue/long", {"data": {"attributes": {"arguments": 2}}}).json["data"]["id"]
        eventually(lambda: farm.server.count("begin", self.id) == 1)
        process = int(next(line[2] for line in farm.server.runs() if line[:2] == ["begin", self.id]))
        self.victim = next(worker for worker in farm.workers if worker.process is not None and worker.process.pid == process)
        self.victim.kill()
        self.killed = time.time()

    def begun_again(self) -> float:
        """When somebody else took it."""
        eventually(lambda: self.farm.server.count("begin", self.id) == 2, within=40)
        return next(float(line[3]) for line in self.farm.server.runs()[::-1] if line[:2] == ["begin", self.id])


@pytest.fixture(scope="module")
def orphan(farm: Farm) -> Orphan:
    """It waits for its lease to end while other tests run."""
    return Orphan(farm)


@pytest.mark.usefixtures("orphan")
@pytest.mark.parametrize(
    "total", [pytest.param(150, id="share"), pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)], id="full")]
)
def test_kill_9_of_the_server_loses_no_job(server: Server, client: Client, total: int):
    chance = random.Random(1)
    work, kills = Work(client, total), 0
    work.start()
    while not work.is_over() or kills < 3:
        time.sleep(0.2 + chance.random())
        server.kill()
        kills += 1
        server.start()
    eventually(lambda: are_over(client, list(work.accepted)), within=60)
    judge(server, work, client, kills=kills)


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_each_change_has_its_job_though_the_process_dies_at_any_point(server: Server, client: Client, rounds: int):
    chance = random.Random(3)
    attributes = {"type": "@event", "arguments": "io.cozy.things:CREATED", "worker": "short", "message": {}}
    trigger = client.api("POST", "/jobs/triggers", {"data": {"attributes": attributes}}).json["data"]["id"]
    wanted: list[str] = []

    def write(until: threading.Event) -> None:
        while not until.is_set():
            try:
                made = client.api("POST", "/data/io.cozy.things/", {"value": 1})
            except Exception:  # noqa: BLE001 - the server is dead
                return
            if made.status == 201:
                wanted.append(id_of(trigger, "io.cozy.things", made.json["id"], made.json["rev"]))

    for _ in range(rounds):
        stop = threading.Event()
        threads = [threading.Thread(target=write, args=(stop,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2 + chance.random())
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        server.start()
    eventually(lambda: are_over(client, wanted), within=60)
    found = states(client, wanted)
    assert found["done"] + found["errored"] == len(wanted), "one that two kills met is given up, with its error; none is lost"
    assert found["errored"] < found["done"]
    assert len(client.api("GET", "/data/io.cozy.things/_all_docs").json["rows"]) >= len(wanted) > 0


def test_a_job_whose_process_was_killed_is_free_again_soon(server: Server, client: Client):
    job = client.api("POST", "/jobs/queue/long", {"data": {"attributes": {"arguments": 0.5}}}).json["data"]["id"]
    eventually(lambda: server.count("begin", job) == 1)
    server.kill()
    server.start()
    eventually(lambda: server.count("end", job) == 1, within=30)
    assert client.api("GET", f"/jobs/{job}").json["data"]["attributes"]["state"] == "done"


def test_a_job_that_kills_its_process_is_parked_with_its_error(server: Server, client: Client):
    job = client.api("POST", "/jobs/queue/poison", {"data": {"attributes": {}}}).json["data"]["id"]
    for _ in range(3):
        assert server.process is not None
        server.process.wait(20)
        server.kill()
        server.launch()  # which the job may kill before it answers
    eventually(lambda: are_over(client, [job]))
    attributes = client.api("GET", f"/jobs/{job}").json["data"]["attributes"]
    assert (attributes["state"], attributes["error"]) == ("errored", "The job was interrupted while it ran")
    assert server.count("begin", job) == 3


def test_sigterm_with_jobs_running_ends_them_or_gives_them_back_within_ten_seconds(server: Server, client: Client):
    push = lambda seconds: client.api("POST", "/jobs/queue/long", {"data": {"attributes": {"arguments": seconds}}}).json["data"]["id"]  # noqa: E731
    short, long = push(1), push(60)
    eventually(lambda: server.count("begin", short) + server.count("begin", long) == 2)
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 11
    assert (server.count("end", short), server.count("end", long)) == (1, 0)
    server.start()
    eventually(lambda: server.count("begin", long) == 2)
    assert client.api("GET", f"/jobs/{short}").json["data"]["attributes"]["state"] == "done"


def test_a_job_of_a_worker_that_was_killed_is_done_by_another_within_thirty_seconds(orphan: Orphan):
    assert orphan.begun_again() - orphan.killed <= 30
    eventually(lambda: are_over(orphan.farm.client, [orphan.id]))
    orphan.victim.start()


def kill_under_work(farm: Farm, total: int) -> None:
    """Each process is killed once, then any of them, until every job was pushed and a crowd of them done; then all are judged."""
    chance = random.Random(2)
    work, kills = Work(farm.client, total), 0
    work.start()
    victims = [farm.restart_redis, farm.restart(farm.server), *(farm.restart(worker) for worker in farm.workers)]
    crowd = 60 if total > 1000 else 0
    while not work.is_over() or kills < 4 or (kills < crowd and not are_over(farm.client, list(work.accepted))):
        time.sleep(0.2 + chance.random())
        victims[kills % 4 if kills < 4 else chance.randrange(4)]()
        kills += 1
    eventually(lambda: are_over(farm.client, list(work.accepted)), within=90)
    judge(farm.server, work, farm.client, kills=kills)


def test_kill_9_of_workers_server_and_redis_loses_no_job(farm: Farm):
    kill_under_work(farm, 100)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("keeps", [True, False], ids=["redis keeps its data", "redis loses its data"])
def test_ten_thousand_jobs_survive_kill_9_of_everything(tmp_path: Path, keeps: bool):
    made = Farm(tmp_path, keeps=keeps)
    try:
        kill_under_work(made, 10_000)
    finally:
        made.close()


def test_while_redis_is_away_jobs_are_accepted_and_run_after_its_return(farm: Farm):
    farm.redis.kill()
    statuses, ids = [], []
    for _ in range(20):
        made = farm.client.api("POST", "/jobs/queue/once", {"data": {"attributes": {}}})
        statuses.append(made.status)
        ids.append(made.json["data"]["id"])
    assert statuses == [202] * 20
    status = farm.client.api("GET", "/status")
    assert (status.status, status.json["status"], status.json["cache"]) == (200, "degraded", "Redis does not answer")
    farm.redis.start()
    eventually(lambda: are_over(farm.client, ids), within=60)
    assert states(farm.client, ids) == {"done": 20}
    assert [farm.server.count("begin", id) for id in ids] == [1] * 20
    eventually(lambda: farm.client.api("GET", "/status").json["status"] == "OK")
