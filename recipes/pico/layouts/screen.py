"""Screens: dialogs, error messages, sign-in windows, settings."""

from __future__ import annotations

import random

from recipes.pico import fonts
from recipes.pico.canvas import Canvas, Colour, Page, Question, weather
from recipes.pico.questions import ask
from recipes.pico.text import Writer

TRAIN = ("dialog", "error", "sign_in", "settings")
HELD_OUT = ("toast",)
BUTTONS = (
    "OK",
    "Cancel",
    "Save",
    "Delete",
    "Retry",
    "Close",
    "Apply",
    "Next",
    "Back",
    "Yes",
    "No",
    "Send",
    "Open",
    "Continue",
)
CAUSES = (
    "File not found",
    "Connection lost",
    "Access denied",
    "Out of memory",
    "Disk is full",
    "Invalid password",
    "Server not responding",
    "Request timed out",
    "Wrong file format",
    "Printer offline",
    "No network",
    "Update failed",
    "Login failed",
    "Payment declined",
    "Cannot open file",
    "Session expired",
)
CAUSES_HELD = (
    "Host unreachable",
    "Upload failed",
    "Permission missing",
    "Backup incomplete",
    "Email not sent",
    "Card expired",
    "Device is busy",
    "Import stopped",
)
ENDS = (
    "not found",
    "failed",
    "was lost",
    "denied",
    "is missing",
    "is full",
    "has expired",
    "not sent",
    "is busy",
    "is invalid",
)
SETTINGS = (
    "Dark mode",
    "Wi-Fi",
    "Bluetooth",
    "Sound",
    "Location",
    "Backup",
    "Auto save",
    "Updates",
    "Camera",
    "Sync",
    "Notifications",
    "Night light",
    "Airplane mode",
    "Spell check",
)
SETTINGS_HELD = ("Screen lock", "Vibration", "Hotspot", "Animations", "Roaming", "Captions")
TITLES = (
    "Warning",
    "Error",
    "Confirm",
    "Setup",
    "Network",
    "Printer",
    "Message",
    "Backup",
    "Update",
    "Editor",
    "Files",
    "Account",
    "Welcome",
    "Download",
    "Mail",
    "Calendar",
)
TITLES_HELD = ("Attention", "Sharing", "Installer", "Scanner", "Payments")
ACCENTS: tuple[Colour, ...] = ((30, 100, 220), (20, 130, 90), (200, 60, 40), (120, 60, 180), (50, 60, 80))


def _message(w: Writer, rng: random.Random, error: bool) -> str:
    if error:
        cause = rng.choice(CAUSES_HELD if w.held_out else CAUSES)
        if not w.held_out and rng.random() < 0.5:
            cause = f"{w.word().capitalize()} {rng.choice(ENDS)}"
        tail = rng.choice(
            (
                "",
                "",
                f" (code {rng.randint(1, 999)})",
                f": {w.word()}.{rng.choice(('txt', 'pdf', 'doc', 'png'))}",
                ". Please try again.",
                f". Error {rng.randint(100, 9999)}",
            )
        )
        return cause + tail
    name = f"{w.word()}.{rng.choice(('txt', 'pdf', 'doc', 'jpg'))}"
    return rng.choice(
        (
            f"Delete {name}?",
            f"Save changes to {name}?",
            f"{rng.randint(2, 99)} new messages",
            f"{name} was saved.",
            f"Download of {name} finished.",
            w.sentence(3, 6),
            f"Send mail to {w.person()}?",
        )
    )


def _wrapped(c: Canvas, text: str, size: float, room: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if c.measure(longer, size) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


class _Window:
    """A window on a desktop, filled from top to bottom."""

    def __init__(self, c: Canvas, rng: random.Random, title: str, dark: bool, bar: bool) -> None:
        self.c, self.rng = c, rng
        self.accent = rng.choice(ACCENTS)
        self.fill: Colour = (45, 48, 56) if dark else rng.choice(((255, 255, 255), (240, 240, 243), (250, 250, 250)))
        self.ink: Colour = (235, 235, 235) if dark else (25, 25, 25)
        margin = rng.uniform(8, 30)
        self.x0, self.x1, self.y = margin, c.width - margin, margin
        self.size = rng.uniform(17, 23)
        self.bottom = c.height - margin
        c.box(self.x0, self.y, self.x1, self.bottom, fill=self.fill, outline=(120, 120, 130), radius=5)
        tall = self.size * 1.7
        if bar:
            c.box(self.x0, self.y, self.x1, self.y + tall, fill=self.accent, radius=5)
            c.text(self.x0 + 10, self.y + self.size * 0.25, title, self.size, bold=True, ink=(255, 255, 255))
            c.text(self.x1 - 20, self.y + self.size * 0.25, "x", self.size, ink=(255, 255, 255), note=False)
        else:
            c.text(self.x0 + 12, self.y + self.size * 0.35, title, self.size * 1.1, bold=True, ink=self.ink)
        self.y += tall + self.size * 0.6

    def message(self, text: str) -> None:
        """A paragraph."""
        for line in _wrapped(self.c, text, self.size, self.x1 - self.x0 - 36):
            self.c.text(self.x0 + 16, self.y, line, self.size, ink=self.ink)
            self.y += self.size * 1.4

    def field(self, label: str, value: str) -> None:
        """A label with an input box under it."""
        c, s = self.c, self.size
        c.text(self.x0 + 16, self.y, label, s * 0.9, ink=self.ink)
        self.y += s * 1.25
        c.box(
            self.x0 + 16,
            self.y,
            self.x1 - 16,
            self.y + s * 1.6,
            fill=(255, 255, 255),
            outline=(150, 150, 150),
        )
        c.text(self.x0 + 22, self.y + s * 0.2, value, c.fit(value, s, self.x1 - self.x0 - 50), ink=(20, 20, 20))
        self.y += s * 2.0

    def switch(self, label: str, on: bool) -> None:
        """A setting with a sliding switch."""
        c, s = self.c, self.size
        c.text(self.x0 + 16, self.y, label, s, ink=self.ink)
        left = self.x1 - 56
        c.box(left, self.y, left + 36, self.y + s, fill=(40, 160, 80) if on else (170, 170, 170), radius=s / 2)
        knob = left + 36 - s if on else left
        c.box(knob, self.y, knob + s, self.y + s, fill=(255, 255, 255), outline=(90, 90, 90), radius=s / 2)
        self.y += s * 1.65

    def buttons(self, names: list[str], main: str) -> None:
        """Buttons at the lower right; the main one is filled."""
        c, s = self.c, self.size
        top = max(self.y + 4, self.bottom - s * 2.3)
        widths = [c.measure(n, s) + 24 for n in names]
        x = self.x1 - 12 - sum(widths) - 8 * (len(names) - 1)
        for name, wide in zip(names, widths, strict=True):
            chosen = name == main
            c.box(
                x,
                top,
                x + wide,
                top + s * 1.65,
                fill=self.accent if chosen else (225, 225, 228),
                outline=(130, 130, 130),
                radius=4,
            )
            c.text(x + 12, top + s * 0.22, name, s, ink=(255, 255, 255) if chosen else (20, 20, 20))
            x += wide + 8


def render(rng: random.Random, held_out: bool = False, layout: str | None = None, clean: bool = False) -> Page:
    """One screen."""
    w = Writer(rng, held_out)
    layout = layout or rng.choice(HELD_OUT if held_out else TRAIN)
    desk = (rng.randint(60, 230), rng.randint(60, 230), rng.randint(80, 240))
    tall = 256 if layout in ("dialog", "error", "toast") else rng.choice((288, 384, 400))
    width = 512.0 if tall > 256 or rng.random() < 0.7 else 256.0
    c = Canvas(
        width,
        rng.uniform(190, 256) if tall == 256 else tall,
        rng.uniform(1.2, 2.4),
        fonts.choose(rng, held_out, ("sans", "sans", "mono")),
        desk,
    )
    dark = layout == "toast" or rng.random() < 0.2
    title = rng.choice(TITLES_HELD if held_out else TITLES)
    if not held_out and rng.random() < 0.5:
        title = w.word().capitalize()
    window = _Window(c, rng, title, dark, layout != "toast" and rng.random() < 0.8)
    names = rng.sample(BUTTONS, rng.randint(1, 3 if width > 300 else 2))
    main = rng.choice(names)
    questions: list[Question] = [
        ask(rng, "window_title", title),
        ask(rng, "buttons", ", ".join(names)),
        ask(rng, "main_button", main),
    ]
    if layout in ("dialog", "error", "toast"):
        error = layout == "error" or rng.random() < 0.4
        message = _message(w, rng, error)
        window.message(message)
        questions += [ask(rng, "message", message)] + (
            [ask(rng, "error", message), ask(rng, "error", message)] if error else []
        )
    elif layout == "sign_in":
        for label, value in rng.sample(
            [
                ("User name", w.first().lower()),
                ("Email", w.email()),
                ("Server", f"{w.word()}.{w.word()}.com"),
                ("City", w.city()),
                ("Search", w.goods()),
                ("Full name", w.person()),
            ],
            2 if tall < 300 else 3,
        ):
            window.field(label, value)
            questions += [ask(rng, "typed", value, label[0].lower() + label[1:])]
    else:
        for label in rng.sample(SETTINGS_HELD if held_out else SETTINGS, 4 if tall < 300 else 6):
            on = rng.random() < 0.5
            window.switch(label, on)
            questions.append(ask(rng, "setting", "on" if on else "off", label))
    window.buttons(names, main)
    return Page("screen", layout, [c.image if clean else weather(c.image, rng, 0.5)], questions, c.transcript())
