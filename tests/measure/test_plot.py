"""Records.plot(): what is drawn, read back from the axes."""

import matplotlib
import pytest
from matplotlib import pyplot

import rsnet

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def replies():
    with rsnet.reflector() as far_end:
        return rsnet.udp.ping(far_end.stamp, count=50, interval=0.001)


@pytest.fixture(scope="module")
def found():
    with rsnet.create_server(("127.0.0.1", 0)) as server:
        targets = ["127.0.0.1", "127.0.0.2", "no-such-host.invalid"]
        return rsnet.tcp.probe(targets, [9, server.getsockname()[1]], timeout=10)


def drawn(axes):
    """The picture's pixels, to see that it can be made."""
    axes.figure.canvas.draw()
    return axes.figure.canvas.buffer_rgba()


def test_times_over_the_clock(replies):
    axes = replies.plot()
    (line,) = axes.get_lines()
    assert list(line.get_ydata()) == [ns / 1e6 for ns in replies.column("rtt_ns")]
    assert line.get_xdata()[0] == 0 and 0.03 < line.get_xdata()[-1] < 10
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["received"]
    drawn(axes)


def test_what_has_no_time_is_marked():
    with rsnet.reflector() as far_end:
        port = far_end.echo[1]
    nobody = rsnet.udp.ping(("127.0.0.1", port), count=5, interval=0.001)
    (line,) = nobody.plot().get_lines()
    assert (line.get_label(), len(line.get_xdata())) == ("error", 5)


def test_ecdf_and_histogram(replies):
    axes = replies.plot("ecdf", column="forward_ns")
    assert axes.get_xlabel() == "forward (ms)"
    assert max(axes.get_lines()[0].get_ydata()) == 1
    axes = replies.plot("histogram")
    assert sum(bar.get_height() for bar in axes.patches) == 50
    drawn(axes)


def test_states(found):
    axes = found.plot()
    (image,) = axes.get_images()
    assert image.get_array().shape == (3, 2)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(labels) == {"open", "refused", "error"}
    hosts = [label.get_text() for label in axes.get_yticklabels()]
    assert hosts == ["127.0.0.1", "127.0.0.2", "no-such-host.invalid"]
    (row,) = (row for row in found if row.state == "open")
    column = sorted(set(found.column("port"))).index(row.port)
    assert labels[int(image.get_array()[0][column])] == "open"
    drawn(axes)


def test_one_host_has_a_distribution(found):
    assert found[:2].plot().get_xlabel() == "connect (ms)"
    drawn(found[2:4].plot("ecdf"))


def test_axes_of_ones_own(replies):
    _, axes = pyplot.subplots()
    assert replies.plot("ecdf", ax=axes) is axes


def test_what_cannot_be_drawn(replies, found):
    with pytest.raises(ValueError, match="kind is one of 'time', "):
        replies.plot("pie")
    with pytest.raises(ValueError, match="column is one of 'rtt_ns', "):
        replies.plot("ecdf", column="port")
    with pytest.raises(ValueError, match="no states of addresses"):
        replies.plot("states")
    many = rsnet.tcp.probe("127.0.0.1-2", "20001-22500", timeout=5)
    with pytest.raises(ValueError, match="2,500 ports are too many"):
        many.plot()
