"""One program of a session: started on a pty or on pipes, fed, read, signalled, hung up and always reaped.

Knows no SSH. A pty gives one output stream; pipes give stdout and stderr apart.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tunnels.agent.descriptors import Sink, Source, close_quietly
from tunnels.agent.reaper import watch
from tunnels.agent.tty_modes import set_modes, set_size


class Listener(Protocol):
    """What the owner of a process is told."""

    def output(self, data: bytes, from_stderr: bool) -> None: ...

    def exited(self, returncode: int) -> None:
        """After the last output. As `subprocess`: negative for a signal."""

    def input_taken(self) -> None:
        """The program took all input that was kept back."""


@dataclass(frozen=True, slots=True)
class Pty:
    """What the client asked for in `pty-req`: columns, rows, pixels, RFC 4254 terminal modes."""

    size: tuple[int, int, int, int]
    modes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Program:
    path: str
    argv: Sequence[str | bytes]
    environment: Mapping[bytes, bytes]
    directory: str
    pty: Pty | None


class Process:
    """A running program. Whoever made it must `hang_up()` it unless `exited` was called."""

    def __init__(self, program: Program, listener: Listener, *, hangup_s: float) -> None:
        """Starts it. OSError when that fails."""
        self._listener = listener
        self._hangup_s = hangup_s
        self._master: int | None = None
        self._popen: subprocess.Popen[bytes]
        self._sources: list[Source]
        self._sink: Sink
        self._stdin: int
        self._descriptors: list[int] = []
        self._open_sources = 0
        self._hung_up = False
        self.reaped = asyncio.Event()
        if program.pty:
            self._start_on_pty(program, program.pty)
        else:
            self._start_on_pipes(program)
        watch(self._popen, self._died)

    def _start_on_pty(self, program: Program, pty: Pty) -> None:
        master, slave = os.openpty()
        try:
            set_size(slave, pty.size)
            set_modes(slave, pty.modes)
            environment = {**program.environment, b"SSH_TTY": os.fsencode(os.ttyname(slave))}
            self._popen = _spawn(program, environment, (slave, slave, slave), _prepare_with_terminal)
        except BaseException:
            close_quietly(master)
            raise
        finally:
            close_quietly(slave)
        self._master = master
        self._adopt(master, [(master, False)])

    def _start_on_pipes(self, program: Program) -> None:
        pipes = [os.pipe(), os.pipe(), os.pipe()]
        (input_end, stdin), (stdout, output_end), (stderr, error_end) = pipes
        try:
            self._popen = _spawn(program, program.environment, (input_end, output_end, error_end), _prepare)
        except BaseException:
            close_quietly(stdin, stdout, stderr)
            raise
        finally:
            close_quietly(input_end, output_end, error_end)
        self._adopt(stdin, [(stdout, False), (stderr, True)])

    def _adopt(self, stdin: int, outputs: list[tuple[int, bool]]) -> None:
        self._stdin = stdin
        self._descriptors = sorted({stdin, *(descriptor for descriptor, _ in outputs)})
        for descriptor in self._descriptors:
            os.set_blocking(descriptor, False)
        self._sink = Sink(stdin, self._listener.input_taken)
        self._open_sources = len(outputs)
        self._sources = [Source(descriptor, self._reader(error), self._source_ended) for descriptor, error in outputs]

    def _reader(self, from_stderr: bool) -> Callable[[bytes], None]:
        return lambda data: self._listener.output(data, from_stderr)

    def write(self, data: bytes) -> bool:
        """Gives input to the program. True while it keeps up; else `input_taken` tells when to go on."""
        self._sink.write(data)
        return not self._sink.is_full

    @property
    def takes_input(self) -> bool:
        return not self._sink.is_full

    def write_eof(self) -> None:
        """No more input: closes stdin; on a terminal the end-of-file character says the same."""
        if self._master is None:
            self._sink.finish(self._close_stdin)
        elif not self._hung_up:
            with suppress(termios.error):
                self._sink.write(termios.tcgetattr(self._master)[6][termios.VEOF])

    def _close_stdin(self) -> None:
        if self._stdin in self._descriptors:
            self._sink.close()
            self._descriptors.remove(self._stdin)
            close_quietly(self._stdin)

    def hold_output(self) -> None:
        for source in self._sources:
            source.hold()

    def release_output(self) -> None:
        for source in self._sources:
            source.release()

    def resize(self, size: tuple[int, int, int, int]) -> None:
        if self._master is not None and not self._hung_up:
            set_size(self._master, size)

    def send_signal(self, number: int) -> None:
        """To the foreground process group, as a key on the terminal would; without a terminal to the whole group."""
        self._kill_group(self._foreground() or self._popen.pid, number)

    def _foreground(self) -> int | None:
        if self._master is None or self._hung_up:
            return None
        try:
            return os.tcgetpgrp(self._master) or None
        except OSError:
            return None

    def _kill_group(self, group: int, number: int) -> None:
        """Never after the leader was reaped: its number may by then be somebody else's."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)

    def hang_up(self) -> None:
        """The client is gone: SIGHUP to the program, SIGKILL if it is still there a few seconds later. Never waits."""
        if self._hung_up:
            return
        foreground = self._foreground()
        self._hung_up = True
        self._release_descriptors()
        if self._popen.returncode is not None:
            return
        groups = {self._popen.pid, foreground or self._popen.pid}
        for group in groups:
            self._kill_group(group, signal.SIGHUP)
            self._kill_group(group, signal.SIGCONT)
        asyncio.get_running_loop().call_later(self._hangup_s, self._kill, groups)

    def _kill(self, groups: set[int]) -> None:
        for group in groups:
            self._kill_group(group, signal.SIGKILL)

    def _release_descriptors(self) -> None:
        self._sink.close()
        for source in self._sources:
            source.close()
        close_quietly(*self._descriptors)
        self._descriptors = []

    def _source_ended(self) -> None:
        self._open_sources -= 1
        self._settle()

    def _died(self) -> None:
        """A terminal ends with its session leader. Pipes end when nobody holds them, as with OpenSSH's sshd."""
        self.reaped.set()
        if self._master is not None and not self._hung_up:
            for source in self._sources:
                source.finish()
        self._settle()

    def _settle(self) -> None:
        if self._popen.returncode is None or self._open_sources or self._hung_up:
            return
        self._hung_up = True
        self._release_descriptors()
        self._listener.exited(self._popen.returncode)


def _spawn(
    program: Program,
    environment: Mapping[bytes, bytes],
    standard: tuple[int, int, int],
    prepare: Callable[[], None],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(program.argv),
        executable=program.path,
        env=environment,
        cwd=program.directory,
        stdin=standard[0],
        stdout=standard[1],
        stderr=standard[2],
        close_fds=True,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 -- between fork and exec, nothing here takes a lock
    )


def _prepare() -> None:
    """Runs in the child before exec. Ignored signals would survive it: an agent started from a background job has
    SIGINT ignored, and no Ctrl-C would ever work in its shells."""
    for number in range(1, signal.NSIG):
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)


def _prepare_with_terminal() -> None:
    _prepare()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
