"""How people ask: several wordings for each kind of question.

``{}`` takes the thing asked about (an item, a label, a person).
"""

from __future__ import annotations

import random

from recipes.pico.canvas import Question

WORDINGS: dict[str, tuple[str, ...]] = {
    "total": (
        "What is the total?",
        "What is the total?",
        "How much was paid?",
        "What is the total amount?",
        "What is the total amount on this receipt?",
        "How much is the total?",
        "What does it cost in total?",
        "What is the grand total?",
        "Read the total.",
    ),
    "date": (
        "What is the date?",
        "What is the date on this receipt?",
        "When was this issued?",
        "What date is printed?",
        "When was this bought?",
        "What is the date of purchase?",
    ),
    "shop": (
        "What is the name of the shop?",
        "Which shop is this from?",
        "What is the shop name?",
        "Where was this bought?",
        "What is the name of the store?",
        "Who issued this receipt?",
    ),
    "price": (
        "What is the price of {}?",
        "How much is {}?",
        "How much does {} cost?",
        "What does {} cost?",
        "How much was the {}?",
        "What did the {} cost?",
    ),
    "count": (
        "How many items are there?",
        "How many items were bought?",
        "How many items are listed?",
        "How many different items are on the receipt?",
    ),
    "payment": (
        "How was it paid?",
        "What is the payment method?",
        "How did the customer pay?",
        "Which payment method was used?",
    ),
    "tax": (
        "How much is the tax?",
        "What is the tax?",
        "What is the amount of tax?",
        "How much tax was paid?",
    ),
    "subtotal": ("What is the subtotal?", "How much is the subtotal?", "What is the amount before tax?"),
    "number": (
        "What is the receipt number?",
        "What number does the receipt have?",
        "Which receipt number is printed?",
    ),
    "first_item": ("What is the first item?", "Which item is listed first?", "What was bought first?"),
    "address": ("What is the address?", "What is the address of the shop?", "Where is the shop?"),
    "phone": ("What is the phone number?", "What is the telephone number?", "Which phone number is given?"),
    "cashier": ("Who was the cashier?", "What is the name of the cashier?", "Who served the customer?"),
    "time": ("What time is printed?", "At what time was it?", "What is the time?"),
    "quantity": ("How many {} were bought?", "What is the quantity of {}?"),
    "json": ("Extract {} as JSON.", "Give {} as JSON.", "Return {} as JSON."),
    "transcribe": (
        "Read all the text.",
        "Read the text.",
        "What is written here?",
        "Transcribe this page.",
        "What does the picture say?",
        "What does it say?",
    ),
    "field": (
        "What is the {}?",
        "What is the {}?",
        "What is written in the field {}?",
        "What does the field {} say?",
        "What is the value of {}?",
        "Read the {}.",
    ),
    "checked": (
        "Which option is checked?",
        "Which option is selected?",
        "What is ticked?",
        "Which box is ticked?",
    ),
    "form_title": (
        "What is the title of the form?",
        "What is the title?",
        "What is the form called?",
        "What kind of form is this?",
    ),
    "title": (
        "What is the title?",
        "What is the title of this page?",
        "What does the heading say?",
        "Read the title.",
    ),
    "letter_date": (
        "What is the date?",
        "What date is printed?",
        "When was this written?",
        "What is the date of the letter?",
    ),
    "signed": ("Who signed the letter?", "Who wrote this letter?", "Who is the sender?", "Who is it from?"),
    "addressee": ("Who is the letter addressed to?", "Who is the letter for?", "To whom is it written?"),
    "subject": ("What is the subject?", "What is the letter about?", "What is the subject of the letter?"),
    "invoice_number": (
        "What is the invoice number?",
        "Which invoice number is this?",
        "What is the number of the invoice?",
    ),
    "due": ("When is the payment due?", "What is the due date?", "By when must it be paid?"),
    "invoice_date": ("What is the invoice date?", "What is the date?", "When was the invoice issued?"),
    "customer": (
        "Who is the customer?",
        "Who is the invoice for?",
        "Who is billed?",
        "Who was the invoice sent to?",
    ),
    "vendor": ("Who issued the invoice?", "Who is the invoice from?", "Which company sent the invoice?"),
    "cell": (
        "What is the {} of {}?",
        "What is {1}'s {0}?",
        "Which {} does {} have?",
        "Look up the {} for {}.",
    ),
    "rows": ("How many rows does the table have?", "How many rows are there?"),
    "column": ("What is the last column called?", "What is the title of the last column?"),
    "message": (
        "What does the message say?",
        "What does the dialog say?",
        "What is the message?",
        "Read the message.",
    ),
    "error": (
        "What does the error message say?",
        "What is the error?",
        "What does the error say?",
        "What is the error message?",
    ),
    "buttons": ("Which buttons are there?", "What buttons can be pressed?", "Name the buttons."),
    "main_button": (
        "Which button is highlighted?",
        "Which button is the main one?",
        "What does the blue button say?",
    ),
    "window_title": (
        "What is the title of the window?",
        "What does the title bar say?",
        "What is the title?",
    ),
    "setting": ("Is {} on or off?", "Is {} turned on?", "What is the state of {}?"),
    "typed": ("What is typed in the field {}?", "What is in the {} field?", "What is the {}?"),
    "colour": (
        "What colour is the {}?",
        "What is the colour of the {}?",
        "Which colour does the {} have?",
        "What color is the {}?",
    ),
    "kind": ("Which shape is {}?", "What is the {} shape?", "What kind of shape is {}?"),
    "shapes": ("How many shapes are there?", "How many shapes are in the picture?", "Count the shapes."),
    "how_many": ("How many {} are there?", "Count the {}.", "How many {} can you see?"),
    "where": ("Where is the {}?", "In which corner is the {}?", "Where is the {} located?"),
    "direction": (
        "In which direction does the {} move?",
        "Where does the {} move?",
        "Which way does the {} go?",
    ),
    "happens": (
        "What happens?",
        "What happens in the clip?",
        "What happens in the video?",
        "Describe the clip.",
    ),
    "clip_colour": ("What colour is the {}?", "Which colour is the {}?"),
    "final_colour": ("Which colour is it at the end?", "What colour is it in the last frame?"),
    "typed_word": ("Which word is typed?", "What is typed?", "What is being written?"),
    "last_number": (
        "What is the last number?",
        "Which number is shown at the end?",
        "What does the counter show last?",
    ),
    "bar": ("What is the value of {}?", "How much is {}?", "What value does {} have?"),
    "highest": ("Which bar is the highest?", "What has the highest value?", "Which one is the largest?"),
    "lowest": ("Which bar is the lowest?", "What has the lowest value?", "Which one is the smallest?"),
    "line": ("What is written in line {}?", "Read line {}.", "What does line {} say?"),
    "picture": ("What does picture {} say?", "Read picture {}.", "What is written in picture {}?"),
    "pair": ("Which picture says {}?", "In which picture is {} written?"),
}


def ask(rng: random.Random, kind: str, answer: str, *about: str) -> Question:
    """A question of ``kind`` about ``about`` in a random wording."""
    return Question(kind, rng.choice(WORDINGS[kind]).format(*about), answer)
