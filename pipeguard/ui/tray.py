"""The tray icon, in a process of its own: Qt needs the main thread, and 54 MB.

Each line of its input has the number of pending decisions (-1 if unknown), and whether
notifications are paused. Each line of its output names a click: `open`, `pause` or `quit`. It knows
no name, link or store, and ends with its input.
"""

from __future__ import annotations

import os
import sys
import threading
from importlib import resources

from PySide6.QtCore import QObject, QRect, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QApplication, QMenu, QSystemTrayIcon

SIZE = 64  # pixels, of which a panel shows a third
_BADGE = QRect(24, 24, 40, 40)
_WORDS = {-1: "What waits is unknown", 0: "Nothing waits", 1: "1 thing waits"}
_RED = QColor("#b3261e")


class _Tray(QObject):
    """The icon and its menu."""

    told = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        mark, self._plain = QPixmap(), QPixmap(SIZE, SIZE)
        mark.loadFromData(resources.files("pipeguard.ui").joinpath("static/icon.svg").read_bytes())
        self._plain.fill(Qt.GlobalColor.transparent)
        with QPainter(self._plain) as painter:
            painter.drawPixmap(QRect(0, 6, SIZE, 52), mark)
        self._menu = QMenu()
        self._count = self._menu.addAction("")
        self._count.setEnabled(False)
        self._menu.addSeparator()
        self._menu.addAction("&Open the page", lambda: _say("open"))
        self._pause = self._menu.addAction("&Pause notifications", lambda: _say("pause"))
        self._pause.setCheckable(True)
        self._menu.addSeparator()
        self._menu.addAction("&Quit", lambda: _say("quit"))
        self._icon = QSystemTrayIcon()
        self._icon.setContextMenu(self._menu)
        clicked = QSystemTrayIcon.ActivationReason.Trigger
        self._icon.activated.connect(lambda why: _say("open") if why == clicked else None)
        self.told.connect(self._show)

    def _show(self, count: int, is_paused: bool) -> None:  # noqa: FBT001  Qt calls it
        words = _WORDS.get(count, f"{count} things wait")
        self._count.setText(words)
        self._pause.setChecked(is_paused)
        self._icon.setToolTip(f"PipeGuard: {words}")
        self._icon.setIcon(QIcon(self._draw(count)))
        self._icon.show()

    def _draw(self, count: int) -> QPixmap:
        """Draw the icon, with the number of pending decisions."""
        if count == 0:
            return self._plain
        drawn, text = QPixmap(self._plain), "?" if count < 0 else f"{min(count, 99)}"
        with QPainter(drawn) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setBrush(_RED)
            painter.setPen(_RED)
            painter.drawEllipse(_BADGE)
            font = painter.font()
            font.setPixelSize(26)
            font.setBold(True)
            painter.setFont(font)
            painter.setPen(Qt.GlobalColor.white)
            painter.drawText(_BADGE, Qt.AlignmentFlag.AlignCenter, text)
        return drawn


def _say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def _read(tray: _Tray) -> None:
    for line in sys.stdin:
        count, is_paused = line.split()
        tray.told.emit(int(count), is_paused == "1")
    QApplication.quit()


if __name__ == "__main__":
    app = QApplication(["pipeguard"])
    app.setQuitOnLastWindowClosed(False)
    threading.Thread(target=_read, args=(_Tray(),), daemon=True).start()
    app.exec()
