"""Records: a sequence, columns for other libraries, and something to look at."""

import pickle
from collections.abc import Sequence

import pandas
import polars
import pyarrow
import pytest

import rsnet
from rsnet.records import Records


@pytest.fixture(scope="module")
def records():
    """Rows of every kind of column and with what is missing."""
    with rsnet.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        targets = [("127.0.0.1", port), "no-such-host.invalid:9", "localhost:9", "127.0.0.2:9"]
        return rsnet.tcp.probe(targets, timeout=10, banner=0, seed=1)


def test_a_sequence(records):
    assert isinstance(records, Sequence) and len(records) == 4
    assert [row.port for row in records] == [row[2] for row in records]
    assert records[-1] == records[len(records) - 1] == list(records)[-1]
    assert records[0]._fields == records.columns
    assert records[0] in records and records.index(records[2]) == 2
    with pytest.raises(IndexError, match="4 rows"):
        records[4]
    with pytest.raises(IndexError):
        records[-5]
    with pytest.raises(KeyError, match="no column 'x'; there are address, "):
        records.column("x")


def test_slices_are_records(records):
    for part in (slice(1, 3), slice(None, None, -1), slice(3, 1), slice(0, 4, 2), slice(-2, None)):
        found = records[part]
        assert isinstance(found, Records)
        assert list(found) == list(records)[part]
        assert found.metadata == records.metadata


def test_equal_and_not(records):
    assert records == records[:] and records != records[1:] and records != list(records)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(records, protocol):
    for given in (records, records[1:3], records[:0]):
        found = pickle.loads(pickle.dumps(given, protocol))
        assert found == given and found.metadata == given.metadata


def test_a_small_part_is_a_small_pickle():
    many = rsnet.tcp.probe("127.0.0.1", "20001-21000", timeout=5)
    assert len(pickle.dumps(many[:10])) < len(pickle.dumps(many)) / 10


def test_what_pickles_can_carry_is_checked(records):
    table = records._table
    metadata, columns = table.state()
    name, nullable, (kind, length, present, buffers, nested) = columns[2]
    longer = (name, nullable, (kind, length + 1000, present, buffers, nested))
    with pytest.raises(ValueError):
        type(table).of_state(metadata, [longer])
    with pytest.raises(ValueError, match="no columns of x"):
        type(table).of_state(metadata, [(name, nullable, ("x", 0, None, [], []))])


@pytest.mark.parametrize("convert", [pandas.DataFrame, Records.to_pandas])
def test_pandas(records, convert):
    frame = convert(records)
    assert list(frame.columns) == list(records.columns)
    assert list(frame["state"]) == records.column("state")
    assert list(frame["port"]) == records.column("port")
    known = [value is not None for value in records.column("connect_ns")]
    assert list(frame["connect_ns"].notna()) == known
    assert str(pandas.to_datetime(frame["time"]).dt.tz) == "UTC"


@pytest.mark.parametrize("convert", [polars.DataFrame, Records.to_polars])
def test_polars(records, convert):
    frame = convert(records)
    assert frame.columns == list(records.columns)
    for name in set(records.columns) - {"time"}:
        assert frame[name].to_list() == records.column(name)


def test_polars_has_all_digits_of_a_time(records):
    assert records.to_polars().schema["time"] == polars.Datetime("ns", "UTC")


@pytest.mark.parametrize("convert", [pyarrow.table, Records.to_arrow])
def test_arrow(records, convert):
    table = convert(records)
    table.validate(full=True)
    for name in set(records.columns) - {"time"}:
        assert table[name].to_pylist() == records.column(name)
    assert table.schema.metadata[b"seed"] == b"1"


def test_a_stream_can_be_taken_more_than_once(records):
    assert pyarrow.table(records) == pyarrow.table(records)
    capsule = records.__arrow_c_stream__()
    del capsule


def test_join(records):
    both = rsnet.records.join([records, records[1:]])
    assert list(both) == list(records) + list(records)[1:]
    assert list(both[::-1]) == list(both)[::-1]
    pyarrow.table(both).validate(full=True)
    with pytest.raises(ValueError, match="different columns"):
        rsnet.records.join([records, records.summary()])
    with pytest.raises(ValueError):
        rsnet.records.join([])


def test_many_parts_keep_their_kinds(records):
    # The keys of states have eight bits: five states of each part would not fit.
    many = rsnet.records.join([pickle.loads(pickle.dumps(records)) for _ in range(100)])
    assert many[::-1].column("state") == many.column("state")[::-1]


def test_summary(records):
    summary = {(row.state, row.metric): row for row in records.summary()}
    there = summary["open", "connect_ns"]
    (exact,) = (row.connect_ns for row in records if row.state == "open")
    assert (there.count, there.min, there.max, there.mean) == (1, exact, exact, float(exact))
    assert there.p50 == pytest.approx(exact, rel=1e-3) and there.stddev is None
    # Two of them, one of which had a name.
    assert summary["refused", "resolve_ns"].count == 1 and summary["error", "resolve_ns"].count == 1
    without = rsnet.tcp.probe("127.0.0.2", "9-11", timeout=5).summary()
    assert [row[:3] for row in without] == [("refused", None, 3)]


def test_text_fits_the_terminal(monkeypatch):
    many = rsnet.tcp.probe("127.0.0.1", "20001-20100", timeout=5)
    for width in (40, 80, 300):
        monkeypatch.setenv("COLUMNS", str(width))
        first, *lines = repr(many).splitlines()
        assert first == "100 rows, 100 refused"
        assert len(lines) < 20
        assert all(len(line) <= width for line in lines if not line.startswith("and "))
    assert "20001" in repr(many) and "20100" in repr(many) and "..." in lines


def test_what_peers_say_does_not_steer_the_terminal(served):
    evil = b"<script>\x1b[2J" + "\N{RIGHT-TO-LEFT OVERRIDE}".encode()
    port = served(lambda sock: sock.sendall(evil))
    found = rsnet.tcp.probe("127.0.0.1", port, banner=100, timeout=5)
    assert found[0].banner == evil
    assert "\x1b" not in repr(found)
    shown = found._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "\x1b" not in shown


def test_a_bar(capsys):
    rsnet.tcp.probe("127.0.0.1", "20001-20100", timeout=5, progress=True)
    assert "100/100" in capsys.readouterr().err
