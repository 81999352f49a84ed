"""A conversation on a terminal: a banner, commands, and Ctrl-C, which does not end the conversation."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from tests.support.small_chat import tokenizer_of, write_model

TEXTS = ["the red house is blue", "the blue house is red"]


def take_terminal() -> None:
    """Makes standard input the controlling terminal of the new session, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """`bessemer chat` on a pseudo-terminal."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "bessemer", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take_terminal
        )
        os.close(theirs)
        self._file = ours
        self.shown = ""
        self._found = 0

    def until(self, text: str, seconds: float = 60) -> None:
        """Reads the screen until it shows `text` after the text of the last call."""
        end = time.monotonic() + seconds
        while (place := self.shown.find(text, self._found)) < 0:
            assert select.select([self._file], [], [], max(0.0, end - time.monotonic()))[0], self.shown
            self.shown += os.read(self._file, 65536).decode(errors="replace")
        self._found = place + len(text)

    def type(self, keys: str) -> None:
        os.write(self._file, keys.encode())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    tokenizer_of(TEXTS).save(folder / "tokenizer")
    write_model(folder / "model", folder / "tokenizer")
    return folder / "model"


def test_a_conversation_on_a_terminal(model: Path) -> None:
    chat = Terminal("chat", str(model), "--max-new-tokens", "4")
    chat.until("/help prints this line")
    assert "context of 64 tokens" in chat.shown
    chat.until("> ")
    chat.type("the red house\n")
    chat.until("> ")
    chat.type("/reset\n")
    chat.until("has forgotten the conversation")
    chat.until("> ")
    chat.type("half a line")
    chat.until("half a line")  # the line is being edited, so Ctrl-C does not arrive before the editor waits for keys
    chat.type("\x03")
    chat.until("> ")
    chat.type("/help\n")
    chat.until("/exit or Ctrl-D ends it")
    chat.until("> ")
    chat.type("/exit\n")
    chat.until("next: bessemer chat")
    assert chat.process.wait(30) == 0


def test_control_d_ends_the_conversation(model: Path) -> None:
    chat = Terminal("chat", str(model))
    chat.until("> ")
    chat.type("\x04")
    chat.until("next: bessemer chat")
    assert chat.process.wait(30) == 0
