"""
A stream that was merged and pruned restores as before: by us and by the real Litestream.
"""

from __future__ import annotations

from litekeep.engine.verify import verify
from litekeep.repository.layout import Repository
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import plan_links, read_chain, restorable
from litekeep.stream.policy import StreamPolicy, Tier
from litekeep.stream.running import stream_once
from tests.end_to_end.test_stream import bytes_of, job_of
from tests.writers.application import Application
from tests.writers.chains import Clock, Writer
from tests.writers.litestream import restore as litestream_restore

#: All five levels within minutes, and thinned early.
POLICY = StreamPolicy(
    windows_seconds=(30, 300, 3600, 86400),
    members_max=8,
    base_share=1.0,
    base_delta_size_min=0,
    keep=(Tier(0, 100), Tier(60, 1200), Tier(3600, 4 * 86400)),
    retention_seconds=60,
)


def test_litestream_restores_each_txid_that_stays_as_we_do(tmp_path):
    clock = Clock()
    store = DirectoryStore(tmp_path / "store", clock=clock)
    writer = Writer(tmp_path / "spool", clock, store, POLICY, page_count=40)
    for seconds, page_count in (
        *(
            (30000, 40),
            (4000, 40),
            (30, 60),
            (90000, 40),
            (200, 30),
            (200, 30),
            (300, 30),
            (3600, 30),
        ),
        *((400, 30), (20, 50), (15, 50), (2000, 50), (3500, 50), (200, 50)),
        *((70, 50), (35, 50), (10, 50), (5, 50), (65, 50), (1, 50), (1, 50), (40, 50)),
    ):
        for _ in range(2):
            writer.sync(page_count=page_count)
            clock.seconds += 2
        clock.seconds += seconds
        writer.keep()
    writer.sync()

    chain = read_chain(writer.place)
    assert {link.level for link in chain.links} == {0, 1, 2, 3, 4, 9}
    found = restorable(chain)
    assert found == chain.txids()
    assert len(found) < writer.txid
    used: set[int] = set()
    for txid in found:
        assert writer.restore(txid)[0] == writer.states[txid]
        theirs = litestream_restore(tmp_path / "store" / "app", tmp_path / f"{txid}.db", txid)
        assert theirs == writer.states[txid]
        used |= {link.level for link in plan_links(chain, txid)}
    assert used >= {0, 1, 9}


def test_runs_of_cron_merge_and_prune_a_live_database(tmp_path):
    """Each sync a run of its own, which knows only what the last one wrote down."""
    clock = Clock()
    path = tmp_path / "app.db"
    states: dict[int, bytes] = {}
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        job = job_of(path, clock=clock, policy=POLICY)
        for step in range(26):
            app.run(f"INSERT INTO t(a) SELECT randomblob({step * 50})")
            result = stream_once(job)
            assert result.stores[0].error is None
            states[result.txid] = bytes_of(job.places[0], tmp_path)
            clock.seconds += 13 if step < 21 else 4000
    chain = read_chain(job.places[0])
    assert len({link.level for link in chain.links}) >= 3
    assert 5 < len(chain.txids()) < 20
    for txid in chain.txids():
        assert bytes_of(job.places[0], tmp_path, txid) == states[txid]
    # Nothing that merging and pruning left looks damaged.
    found = verify([Repository(job.places[0].store, "app")], state=tmp_path / "verified")
    assert (found.failure, found.unproven) == (None, ())
    assert found.stream_file_count == len(chain.links)
