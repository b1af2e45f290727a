"""The judge itself, on small test modules and small stand-ins that are written here.

A judge that calls everything well would never be noticed otherwise.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

JUDGE = Path(__file__).with_name("judge.py")

# Stands in for socket and is the standard library's to the letter, but for one name more.
RIVAL = """
import socket as _standard
globals().update({k: v for k, v in vars(_standard).items() if not k.startswith("__")})
RIVAL = True
"""
HANG_LIMIT_S = 3


@dataclass
class Judged:
    status: int
    text: str
    report: dict[str, Any]

    def verdicts(self, side: str, module: str = "tiny") -> dict[str, str]:
        tests = self.report["modules"][module][side]["tests"]
        return {test_id.removeprefix(f"{module}."): t["verdict"] for test_id, t in tests.items()}

    def worse(self) -> dict[str, tuple[str, str]]:
        return {
            w["id"].removeprefix("tiny."): (w["standard"], w["subject"])
            for w in self.report["worse"]
        }

    @property
    def last_line(self) -> str:
        return self.text.splitlines()[-1]


class Bench:
    """A folder with a tiny test module and a stand-in, and the judge to run on them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "rival.py").write_text(RIVAL)
        (place / "deviations.toml").write_text("")

    def start(self, source: str, *options: str, module: str = "tiny") -> "subprocess.Popen[str]":
        (self.place / "tiny.py").write_text(dedent(source))
        return subprocess.Popen(
            [
                *(sys.executable, str(JUDGE), module, "--subject", "rival"),
                *("--report", str(self.place / "report.json")),
                *("--deviations", str(self.place / "deviations.toml")),
                *("--hang-limit-s", str(HANG_LIMIT_S), *options),
            ],
            env={**os.environ, "PYTHONPATH": str(self.place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, judge: "subprocess.Popen[str]") -> Judged:
        text, progress = judge.communicate()
        report = self.place / "report.json"
        assert report.exists(), progress
        return Judged(judge.returncode, text, json.loads(report.read_text()))

    def judge(self, source: str, *options: str, module: str = "tiny") -> Judged:
        return self.finish(self.start(source, *options, module=module))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    source = """
        import unittest

        class Plain(unittest.TestCase):
            def test_passes(self): pass
            def test_fails(self): self.assertEqual(1, 2, "one is not two")
            def test_errs(self): raise RuntimeError("went wrong")
            def test_skips(self): self.skipTest("not today")
            @unittest.skip("never")
            def test_is_skipped(self): pass
            @unittest.expectedFailure
            def test_fails_as_expected(self): self.fail()
            @unittest.expectedFailure
            def test_passes_unexpectedly(self): pass
            def test_cleans_up_badly(self): self.addCleanup(self.fail, "in cleaning up")
            def test_fails_in_part(self):
                for part in range(3):
                    with self.subTest(part=part):
                        self.assertNotEqual(part, 1)
            def test_skips_in_part(self):
                for part in range(3):
                    with self.subTest(part=part):
                        if part == 1:
                            self.skipTest("not this part")

        @unittest.skip("the whole class")
        class Skipped(unittest.TestCase):
            def test_a(self): pass

        class SkippedInSetUp(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise unittest.SkipTest("no such machine")
            def test_a(self): pass
            def test_b(self): pass

        class SkippedInSetUpThenBroken(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.addClassCleanup(cls.fail, cls(), "in cleaning up")
                raise unittest.SkipTest("no such machine")
            def test_a(self): pass

        class BrokenSetUp(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise RuntimeError("no set-up")
            def test_a(self): pass
            def test_b(self): pass

        class BrokenTearDown(unittest.TestCase):
            @classmethod
            def tearDownClass(cls): raise RuntimeError("no tear-down")
            def test_a(self): pass
    """
    return Bench(tmp_path_factory.mktemp("one_of_each")).judge(source)


@pytest.mark.parametrize("side", ["standard", "subject"])
def test_every_verdict_is_told(one_of_each: Judged, side: str) -> None:
    assert one_of_each.verdicts(side) == {
        "Plain.test_passes": "ok",
        "Plain.test_fails": "fail",
        "Plain.test_errs": "error",
        "Plain.test_skips": "skip",
        "Plain.test_is_skipped": "skip",
        "Plain.test_fails_as_expected": "expected-failure",
        "Plain.test_passes_unexpectedly": "unexpected-success",
        "Plain.test_cleans_up_badly": "fail",
        "Plain.test_fails_in_part": "fail",
        "Plain.test_skips_in_part": "skip",
        "Skipped.test_a": "skip",
        "SkippedInSetUp.test_a": "skip",
        "SkippedInSetUp.test_b": "skip",
        "SkippedInSetUpThenBroken.test_a": "error",
        "BrokenSetUp.test_a": "error",
        "BrokenSetUp.test_b": "error",
        "BrokenTearDown.test_a": "ok",
        "tearDownClass (tiny.BrokenTearDown)": "error",
    }


def test_a_detail_says_what_happened(one_of_each: Judged) -> None:
    tests = one_of_each.report["modules"]["tiny"]["subject"]["tests"]
    assert "1 != 2 : one is not two" in tests["tiny.Plain.test_fails"]["detail"]
    assert "RuntimeError: went wrong" in tests["tiny.Plain.test_errs"]["detail"]
    assert "(part=1)" in tests["tiny.Plain.test_fails_in_part"]["detail"]
    assert "RuntimeError: no set-up" in tests["tiny.BrokenSetUp.test_b"]["detail"]
    assert tests["tiny.Plain.test_skips"]["detail"] == "not today"


def test_what_fails_with_both_is_not_worse(one_of_each: Judged) -> None:
    assert one_of_each.report["worse"] == []
    assert one_of_each.status == 0
    assert one_of_each.last_line == "3 passed, 0 failed, 6 skipped"


def test_the_subject_is_in_place_for_all_but_ssl(bench: Bench) -> None:
    judged = bench.judge("""
        import asyncio.selector_events, socketserver, ssl, unittest
        import _socket, socket, sys
        from socket import create_connection

        class InPlace(unittest.TestCase):
            def test_here(self): self.assertTrue(socket.RIVAL)
            def test_in_modules_imported_after(self):
                for module in asyncio.selector_events, socketserver:
                    self.assertIs(module.socket, socket)
                    self.assertTrue(module.socket.RIVAL)
            def test_ssl_keeps_the_c_type(self):
                self.assertTrue(issubclass(ssl.SSLSocket, _socket.socket))
                self.assertFalse(hasattr(ssl._socket, "RIVAL"))
    """)
    assert judged.verdicts("subject") == {
        "InPlace.test_here": "ok",
        "InPlace.test_in_modules_imported_after": "ok",
        "InPlace.test_ssl_keeps_the_c_type": "ok",
    }
    assert judged.verdicts("standard")["InPlace.test_here"] == "error"
    assert judged.report["modules"]["tiny"]["subject"]["notes"] == []


def test_a_module_that_keeps_the_standard_socket_is_named(bench: Bench) -> None:
    (bench.place / "early.py").write_text("import socket\n")
    (bench.place / "rival.py").write_text("import early\n" + RIVAL)
    judged = bench.judge("import unittest")
    (note,) = judged.report["modules"]["tiny"]["subject"]["notes"]
    assert note.endswith(": early")


def test_all_resources_but_the_network(bench: Bench) -> None:
    judged = bench.judge("""
        import unittest
        from test import support

        class Resources(unittest.TestCase):
            @support.requires_resource("cpu")
            def test_cpu(self): pass
            @support.requires_resource("network")
            def test_network(self): pass
    """)
    assert judged.verdicts("standard") == {
        "Resources.test_cpu": "ok",
        "Resources.test_network": "skip",
    }


def test_each_kind_of_worse(bench: Bench) -> None:
    judged = bench.judge("""
        import socket, unittest
        rival = hasattr(socket, "RIVAL")

        class Differs(unittest.TestCase):
            @unittest.skipIf(rival, "a name is not there")
            def test_skips(self): pass
            def test_fails(self): self.assertFalse(rival)
            def test_is_better(self): self.assertTrue(rival)
            def test_skips_instead_of_failing(self):
                self.skipTest("no") if rival else self.fail()
            def test_fails_instead_of_skipping(self):
                self.fail() if rival else self.skipTest("no")

        if not rival:
            class OnlyStandard(unittest.TestCase):
                def test_passes(self): pass
        else:
            class OnlyRival(unittest.TestCase):
                def test_passes(self): pass
                def test_fails(self): self.fail()
    """)
    assert judged.worse() == {
        "Differs.test_skips": ("ok", "skip"),
        "Differs.test_fails": ("ok", "fail"),
        "Differs.test_fails_instead_of_skipping": ("skip", "fail"),
        "OnlyStandard.test_passes": ("ok", "missing"),
        "OnlyRival.test_fails": ("no verdict", "fail"),
    }
    assert judged.status == 1
    assert judged.last_line == "2 passed, 5 failed, 1 skipped"
    assert "tiny.Differs.test_skips: ok -> skip\n      a name is not there\n" in judged.text


def test_a_hang_is_ended_and_the_rest_runs(bench: Bench) -> None:
    judged = bench.judge("""
        import socket, threading, unittest

        def wait_for_ever():
            if hasattr(socket, "RIVAL"):
                threading.Event().wait()

        class A(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): wait_for_ever()
            def test_3(self): pass

        class B(unittest.TestCase):
            @classmethod
            def setUpClass(cls): wait_for_ever()
            def test_1(self): pass
            def test_2(self): pass

        class C(unittest.TestCase):
            def test_1(self): pass
    """)
    assert judged.verdicts("subject") == {
        "A.test_1": "ok",
        "A.test_2": "hang",
        "A.test_3": "ok",
        "B.test_1": "hang",
        "B.test_2": "hang",
        "C.test_1": "ok",
    }
    assert judged.worse().keys() == {"A.test_2", "B.test_1", "B.test_2"}
    details = {w["id"]: w["detail"] for w in judged.report["worse"]}
    for where, test_id in (("test_2", "tiny.A.test_2"), ("setUpClass", "tiny.B.test_1")):
        assert "in wait_for_ever" in details[test_id]
        assert f"in {where}" in details[test_id]


def test_a_crash_is_answered_for_and_the_rest_runs(bench: Bench) -> None:
    judged = bench.judge("""
        import os, signal, socket, unittest
        rival = hasattr(socket, "RIVAL")

        class A(unittest.TestCase):
            def test_1(self): pass
            def test_2(self):
                if rival: os.kill(os.getpid(), signal.SIGSEGV)
            def test_3(self):
                if rival: os._exit(7)
            def test_4(self):
                if rival: raise KeyboardInterrupt
            def test_5(self): pass
            @classmethod
            def tearDownClass(cls):
                if rival: os.kill(os.getpid(), signal.SIGKILL)

        class B(unittest.TestCase):
            def test_1(self): pass
    """)
    assert judged.verdicts("subject") == {
        "A.test_1": "ok",
        "A.test_2": "crash",
        "A.test_3": "crash",
        "A.test_4": "crash",
        "A.test_5": "ok",
        "tiny (after tiny.A.test_5)": "crash",
        "B.test_1": "ok",
    }
    details = {w["id"].removeprefix("tiny."): w["detail"] for w in judged.report["worse"]}
    assert "signal SIGSEGV" in details["A.test_2"]
    assert "in test_2" in details["A.test_2"]
    assert "exit status 7" in details["A.test_3"]
    assert "KeyboardInterrupt" in details["A.test_4"]
    assert judged.status == 1


def test_a_bad_end_of_the_interpreter_is_worse(bench: Bench) -> None:
    judged = bench.judge("""
        import atexit, os, socket, unittest
        if hasattr(socket, "RIVAL"):
            atexit.register(os._exit, 3)

        class A(unittest.TestCase):
            def test_1(self): pass
    """)
    assert judged.worse() == {"tiny (interpreter exit)": ("no verdict", "crash")}


def test_a_module_that_cannot_be_set_up_or_imported(bench: Bench) -> None:
    tests = """
        class A(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): pass
    """
    judged = bench.judge(f"""
        import socket, unittest
        {tests}
        def setUpModule():
            if hasattr(socket, "RIVAL"): raise RuntimeError
    """)
    assert judged.worse() == {"A.test_1": ("ok", "error"), "A.test_2": ("ok", "error")}
    judged = bench.judge(f"""
        import socket, unittest
        {tests}
        if hasattr(socket, "RIVAL"): raise unittest.SkipTest("all of it")
    """)
    assert judged.worse() == {"A.test_1": ("ok", "skip"), "A.test_2": ("ok", "skip")}
    (bench.place / "rival.py").write_text("import no_such_package")
    judged = bench.judge(f"import unittest\n{dedent(tests)}")
    assert {"A.test_1", "A.test_2"} <= judged.worse().keys()
    assert "No module named 'no_such_package'" in judged.text


def test_deviations_are_listed_apart_and_stale_ones_told(bench: Bench) -> None:
    (bench.place / "deviations.toml").write_text(
        dedent("""
        [[test]]
        id = "tiny.A.test_differs"
        reason = "cannot be otherwise"
        [[test]]
        id = "tiny.A.test_agrees"
        reason = "was so once"
        [[test]]
        id = "elsewhere.A.test_not_run_now"
        reason = "another module"
        [[behaviour]]
        what = "something"
        reason = "none of the judge's business"
        """)
    )
    judged = bench.judge("""
        import socket, unittest

        class A(unittest.TestCase):
            def test_agrees(self): pass
            def test_differs(self): self.assertFalse(hasattr(socket, "RIVAL"))
    """)
    assert judged.status == 0
    assert judged.last_line == "1 passed, 0 failed, 0 skipped"
    assert [w["id"] for w in judged.report["allowed"]] == ["tiny.A.test_differs"]
    assert "cannot be otherwise" in judged.text
    assert judged.report["stale_deviations"] == ["tiny.A.test_agrees"]


def test_patterns_choose(bench: Bench) -> None:
    source = """
        import unittest

        class A(unittest.TestCase):
            def test_one(self): pass
            def test_two(self): pass
            def test_twofold(self): pass
    """
    judged = bench.judge(source, "--pattern", "two")
    assert judged.verdicts("subject").keys() == {"A.test_two", "A.test_twofold"}
    judged = bench.judge(source, "--pattern", "*two", "--pattern", "*one")
    assert judged.verdicts("subject").keys() == {"A.test_one", "A.test_two"}


def test_an_absent_module_is_told_and_is_no_success(bench: Bench) -> None:
    judged = bench.judge("", module="test_no_such_module")
    assert "not on this interpreter: No module named 'test.test_no_such_module'" in judged.text
    assert judged.status == 2


def test_no_test_is_no_success(bench: Bench) -> None:
    assert bench.judge("import unittest", "--pattern", "misspelt").status == 2


def test_processes_left_behind_go_with_the_child(bench: Bench) -> None:
    bench.judge(f"""
        import subprocess, sys, unittest

        class A(unittest.TestCase):
            def test_leaves_a_process(self):
                left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
                with open({str(bench.place / "left")!r}, "a") as file:
                    print(left.pid, file=file)
                left.returncode = 0  # no warning: it is left on purpose
    """)
    pids = [int(pid) for pid in (bench.place / "left").read_text().split()]
    assert len(pids) == 2
    still_there = [pid for pid in pids if _runs(pid)]
    for pid in still_there:
        os.kill(pid, signal.SIGKILL)
    assert still_there == []


def _runs(pid: int) -> bool:
    """Whether it runs; a killed process that its new parent has not reaped yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status not in ("Z", "X")


def test_an_interrupt_ends_the_child_and_shows_what_is_done(bench: Bench) -> None:
    fifo = bench.place / "fifo"
    os.mkfifo(fifo)
    judge = bench.start(
        f"""
        import os, socket, threading, unittest

        class A(unittest.TestCase):
            def test_1(self): pass
            def test_2(self):
                if hasattr(socket, "RIVAL"):
                    with open({str(fifo)!r}, "w") as fifo:
                        print(os.getpid(), file=fifo)
                    threading.Event().wait()
            def test_3(self): pass
        """,
        "--hang-limit-s",
        "60",
    )
    child_pid = int(fifo.read_text())
    judge.send_signal(signal.SIGINT)
    judged = bench.finish(judge)
    assert judged.status == 130
    assert "PARTIAL" in judged.text
    assert judged.report["partial"] is True
    assert judged.verdicts("subject") == {"A.test_1": "ok"}
    assert judged.last_line == "1 passed, 0 failed, 0 skipped"
    assert not _runs(child_pid)
