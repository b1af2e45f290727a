"""Judges a stand-in for `socket` by the interpreter's own tests, against the standard library.

    python tests/compat/judge.py [MODULE ...] [--pattern P] [--report FILE]

Runs CPython's test modules, unmodified, from the `test` package of the interpreter it is run with:
each once with the standard library's `socket` and once with the subject (`rsnet`) in its place, one
after the other on the same machine. Any test that is worse with the subject and not listed in
deviations.toml makes the judge fail. Worse is also a test that is skipped instead of passed: tests
skip themselves when `socket` lacks a name.

The child (child.py) imports `ssl` first, then puts the subject in `sys.modules["socket"]`, and only
then imports anything else. `ssl.SSLSocket` inherits from whatever `socket.socket` is at that moment
and OpenSSL's binding takes nothing but a subclass of the C type, so `ssl` has to come before the
subject; everything else would keep the standard `socket` if it came before.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import supervise
from report import ModuleFindings, Report
from verdicts import Deviations, ModuleRun

MODULES = (
    "test.test_socket",
    "test.test_socketserver",
    "test.test_selectors",
    "test.test_httplib",
    "test.test_ftplib",
    "test.test_smtplib",
    "test.test_poplib",
    "test.test_imaplib",
    "test.test_urllib2_localnet",
    "test.test_timeout",
    "test.test_asyncio.test_sock_lowlevel",
    "test.test_asyncio.test_selector_events",
    "test.test_ssl",
)

# The public network is off. These two ask for it before they open any socket, even on loopback,
# and would be skipped whole; what in them needs a public name is left out below.
ASK_FOR_NETWORK = {"test.test_socketserver", "test.test_timeout"}

LEFT_OUT = {
    "test.test_socket.ThreadedVSOCKSocketStreamTest": (
        "hangs with any socket on machines that have /dev/vsock but no vsock loopback"
    ),
    "test.test_timeout.TCPTimeoutTestCase": "resolves and connects to public names",
}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="test modules, such as test_socket; default: all",
    )
    parser.add_argument("--subject", default="rsnet", help="the package that stands in for socket")
    parser.add_argument(
        "--pattern",
        action="append",
        default=[],
        dest="patterns",
        help="run only tests whose id matches, as `unittest -k`; may be given several times",
    )
    parser.add_argument("--hang-limit-s", type=float, default=60.0, help="default: 60 for a test")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the findings as JSON")
    parser.add_argument(
        "--deviations", type=Path, default=Path(__file__).with_name("deviations.toml")
    )
    return parser.parse_args(arguments)


def _full_name(module: str) -> str:
    """`test_socket` is short for `test.test_socket`; other names are taken as they are."""
    return f"test.{module}" if module.startswith("test_") else module


def _judge(report: Report, modules: list[str], interruption: supervise.Interruption) -> None:
    for name in modules:
        findings = ModuleFindings(name)
        report.modules.append(findings)
        for subject, into in (("socket", findings.standard), (report.subject, findings.subject)):
            if findings.absent is None:
                supervise.run(_job(report, name, subject), into, interruption)
                _progress(name, subject, into)
        findings.compare()


def _job(report: Report, name: str, subject: str) -> supervise.Job:
    return supervise.Job(
        module=name,
        subject=subject,
        network=name in ASK_FOR_NETWORK,
        patterns=report.patterns,
        left_out=list(report.left_out),
        hang_limit_s=report.hang_limit_s,
    )


def _progress(name: str, subject: str, run: ModuleRun) -> None:
    counts = ", ".join(f"{run.count(column)} {column}" for column in ("ok", "failed", "skipped"))
    print(f"{name} with {subject}: {counts}, {run.taken_s:.1f} s", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if importlib.util.find_spec(options.subject) is None:
        print(f"{sys.executable} has no package {options.subject}.", file=sys.stderr)
        return 2
    report = Report(
        subject=options.subject,
        deviations=Deviations.load(options.deviations),
        left_out=LEFT_OUT,
        hang_limit_s=options.hang_limit_s,
        patterns=options.patterns,
    )
    modules = [_full_name(name) for name in options.modules or MODULES]
    interruption = supervise.Interruption()
    interruption.watch()
    try:
        _judge(report, modules, interruption)
    except KeyboardInterrupt:
        report.partial = True
        for interrupted in report.modules[-1:]:
            interrupted.compare()
    if options.report is not None:
        options.report.write_text(json.dumps(report.json(), indent=1) + "\n", encoding="utf-8")
    # Details quote whatever a test had in hand, lone surrogates included.
    sys.stdout.buffer.write(report.text().encode(errors="backslashreplace") + b"\n")
    sys.stdout.flush()
    if report.partial:
        return 130
    if not report.ran:
        print("No test ran: no such module on this interpreter, or no such test.", file=sys.stderr)
        return 2
    return 1 if report.worse() else 0


if __name__ == "__main__":
    sys.exit(main())
