"""English phrases for the world of sums: every list is split into phrases for training and phrases for the exam.

Placeholders: {a} {b} {c} are the numbers of a formula; inside a part of a story its numbers are {x} and {y}. {n} and {m}
are people, {p} the one who is asked about, {t} things, {u} their measure word (Chinese alone).
"""

from __future__ import annotations

from jielong.worlds.sums.wording import cross

REPLY = "The answer is {r}."

NAMES = cross(
    "Ka Mi To Lu Be Sa No Ri El Da Fe Jo Ve An".split(),
    "ra na lia ben mi do rin las vo ta lo ma".split(),
)
THINGS = tuple(
    (thing, "")
    for thing in cross(
        ("", "red ", "small ", "old ", "green ", "big "),
        (
            "apples|pears|pens|books|stamps|coins|cards|marbles|stickers|shells|eggs|buttons|candles|cups|plates|flowers|"
            "balls|stones|tickets|oranges|postcards|spoons|bottles|toys|photos|nuts|ribbons|badges|chairs|lamps"
        ).split("|"),
    )
)

OPENERS = cross(
    ("Hello! ", "Hi. ", "Good morning. ", "OK. ", "Please help me. ", "Listen. ", "", "", ""),
    (
        "I have a question. ",
        "One more question: ",
        "Here is a small puzzle. ",
        "This is for school. ",
        "My teacher asks: ",
        "It is not hard. ",
        "Another one. ",
        "Let us go on. ",
        "",
        "",
    ),
)
CLOSERS = cross(("", " Thanks", " Thank you", " Please be quick", " That is all", " I am curious"), (".", "!"))
FILLERS = (
    "It is a sunny day.",
    "{n} likes {t}.",
    "{m} is a friend of {n}.",
    "The {t} are new.",
    "It is raining outside.",
    "{n} is happy about it.",
    "The {t} are on the table.",
    "{m} comes to visit.",
    "Everybody likes {t}.",
    "{n} lives in a small town.",
    "{m} has no time today.",
    "The shop is open.",
)

FRAMES = (
    *cross(
        (
            "",
            "Please ",
            "Can you ",
            "Could you ",
            "Would you please ",
            "I want you to ",
            "I ask you to ",
            "You should ",
        ),
        ("calculate", "compute", "work out", "find", "tell me", "give me", "solve", "figure out", "determine"),
        (" {e}.", " {e} for me."),
    ),
    *cross(
        (
            "What is ",
            "What's ",
            "How much is ",
            "Do you know ",
            "I need to know ",
            "I would like to know ",
            "And what is ",
        ),
        ("{e}?", "{e}, please?", "the value of {e}?", "the result of {e}?"),
    ),
    *cross(("What does ", "So what does "), ("{e} come to?", "{e} make?", "{e} give?", "{e} equal?")),
    *cross(("", "My homework: ", "The problem is "), ("{e} = ?", "{e}", "{e} is how much?", "{e}, please.")),
)

EXPRESSIONS = {
    "{a}+{b}": (
        "{a} + {b}",
        "{a}+{b}",
        "{a} plus {b}",
        "the sum of {a} and {b}",
        "{a} and {b} added together",
        "{a} added to {b}",
        "the total of {a} and {b}",
    ),
    "{a}-{b}": (
        "{a} - {b}",
        "{a}-{b}",
        "{a} minus {b}",
        "the difference between {a} and {b}",
        "{a} take away {b}",
        "{b} subtracted from {a}",
    ),
    "{a}*{b}": (
        "{a} * {b}",
        "{a}*{b}",
        "{a} × {b}",
        "{a} x {b}",
        "{a} times {b}",
        "{a} multiplied by {b}",
        "the product of {a} and {b}",
    ),
    "{a}/{b}": (
        "{a} / {b}",
        "{a}/{b}",
        "{a} ÷ {b}",
        "{a} divided by {b}",
        "the quotient of {a} and {b}",
        "{a} over {b}",
    ),
    "{a}+{b}-{c}": ("{a} + {b} - {c}", "{a}+{b}-{c}", "{a} plus {b} minus {c}"),
    "{a}*{b}+{c}": ("{a} * {b} + {c}", "{a}*{b}+{c}", "{a} × {b} + {c}", "{a} times {b} plus {c}"),
    "{a}*{b}-{c}": ("{a} * {b} - {c}", "{a}*{b}-{c}", "{a} × {b} - {c}", "{a} times {b} minus {c}"),
    "({a}+{b})*{c}": ("({a} + {b}) * {c}", "({a}+{b})*{c}", "({a} + {b}) × {c}", "the sum of {a} and {b}, times {c}"),
    "({a}+{b})/{c}": (
        "({a} + {b}) / {c}",
        "({a}+{b})/{c}",
        "({a} + {b}) ÷ {c}",
        "the sum of {a} and {b}, divided by {c}",
    ),
}

_TIMES = ("", "In the morning ", "On Monday ", "At home ", "Today ")
_THEN = ("", "Then ", "Later ", "After that ", "The next day ")

PARTS = {
    "start": (
        *cross(_TIMES, ("{n} ",), ("has", "owns", "keeps", "holds", "brings", "counts"), (" {x} {t}.",)),
        *cross(_TIMES, ("there are {x} {t} ",), ("on {n}'s table.", "in {n}'s room.", "in {n}'s bag.")),
    ),
    "gain": (
        *cross(
            _THEN, ("{n} ",), ("buys", "gets", "finds", "receives", "collects", "wins"), (" {x} more.", " another {x}.")
        ),
        *cross(_THEN, ("{x} more ", "another {x} "), ("arrive.", "are added.", "come in.")),
        *cross(_THEN, ("a friend ", "{m} "), ("brings ", "gives {n} "), ("{x} more.", "another {x}.")),
    ),
    "lose": (
        *cross(
            _THEN, ("{n} ",), ("sells", "gives away", "throws away", "loses", "breaks", "uses up"), (" {x} of them.",)
        ),
        *cross(_THEN, ("{x} of them ",), ("get lost.", "are gone.", "break.", "are taken away.", "are sold.")),
        *cross(_THEN, ("a friend ", "{m} "), ("takes ", "borrows "), ("{x} of them.",)),
    ),
    "now": cross(
        (
            "How many {t} does {n} have ",
            "How many {t} are there ",
            "What number of {t} does {n} have ",
            "How many {t} is that ",
        ),
        ("now?", "in the end?", "after that?", "then?", "at the end of the day?"),
    ),
    "left": cross(
        (
            "How many {t} are left",
            "How many {t} remain",
            "How many {t} does {n} still have",
            "How many of the {t} are left",
        ),
        ("?", " now?", " in the end?", " after that?", " then?"),
    ),
    "first": cross(
        ("How many {t} were there ", "How many {t} did {n} have ", "What number of {t} did {n} have "),
        ("at first?", "before that?", "at the beginning?", "to begin with?", "in the beginning?"),
    ),
    "both": (
        *cross(
            _TIMES,
            ("{n} ",),
            ("has", "owns", "holds", "keeps"),
            (" {x} {t} and {m} has {y}.", " {x} {t}, {m} has {y}.", " {x} {t}; {m} has {y} of them."),
        ),
        *cross(_TIMES, ("there are {x} {t} in {n}'s ",), ("bag", "box", "room"), (" and {y} in {m}'s.",)),
    ),
    "together": cross(
        (
            "How many {t} do they have ",
            "How many {t} do {n} and {m} have ",
            "How many {t} are there ",
            "How many {t} is that ",
        ),
        ("together?", "altogether?", "in total?", "in all?", "taken together?"),
    ),
    "more": cross(
        ("", "Say: ", "Now "),
        (
            "how many more {t} does {n} have than {m}?",
            "how many fewer {t} does {m} have than {n}?",
            "by how many {t} does {n} have more than {m}?",
            "how many more {t} are {n}'s than {m}'s?",
            "what is the difference between their numbers of {t}?",
        ),
    ),
    "asked": cross(
        ("", "Say: ", "Now ", "And "),
        (
            "how many {t} does {p} have?",
            "how many {t} belong to {p}?",
            "how many of the {t} are {p}'s?",
            "what number of {t} does {p} have?",
        ),
    ),
    "groups": (
        *cross(
            _TIMES,
            ("there are {x} ",),
            ("boxes", "shelves", "bags", "tables"),
            (" with {y} {t} ",),
            ("in each.", "each."),
        ),
        *cross(
            _TIMES,
            ("{n} ",),
            ("has", "buys", "fills", "brings"),
            (" {x} ",),
            ("boxes", "bags", "packs"),
            (" of {y} {t}.",),
        ),
        *cross(
            ("Each of the {x} ", "Every one of {x} "), ("boxes", "bags", "tables"), (" has {y} {t}.", " holds {y} {t}.")
        ),
    ),
    "all": cross(
        (
            "How many {t} are there ",
            "How many {t} is that ",
            "How many {t} does {n} have ",
            "What number of {t} is that ",
        ),
        ("in all?", "altogether?", "in total?", "together?"),
    ),
    "share": (
        *cross(
            _TIMES,
            ("{n} ",),
            ("shares {x} {t} equally among", "divides {x} {t} evenly between", "gives {x} {t} in equal shares to"),
            (" {y} ",),
            ("friends.", "children.", "people."),
        ),
        *cross(
            ("{x} {t} are ",), ("shared equally by", "put evenly into"), (" {y} ",), ("people.", "boxes.", "groups.")
        ),
    ),
    "each": cross(
        (
            "How many {t} does each one get",
            "How many {t} is that for each",
            "How many {t} are in each share",
            "What does each get",
        ),
        ("?", " then?", " in the end?", " now?"),
    ),
    "price": (
        *cross(
            ("One of the {t} ", "Each of the {t} ", "Every one of the {t} "), ("costs {x} dollars.", "is {x} dollars.")
        ),
        *cross(
            ("{n} ", "A shop ", "The market "),
            ("sells {t} ", "has {t} "),
            ("at {x} dollars each.", "for {x} dollars each."),
        ),
    ),
    "cost": (
        *cross(("What do ", "How much do ", "How many dollars do "), ("{x} {t} cost?", "{x} of them cost?")),
        *cross(("How much does ", "What does "), ("{n} ", "{m} "), ("pay for {x} {t}?", "pay for {x} of them?")),
    ),
    "pooled": cross(
        ("They put them together and ", "Then they ", "After that they "),
        ("share all of them equally ", "divide all of them evenly "),
        ("among {x} children.", "among {x} people.", "between {x} friends."),
    ),
    "mixed": cross(
        ("Each ", "Every ", "One "),
        ("bag ", "box "),
        ("holds ", "has ", "contains "),
        ("{x} large {t} and {y} tiny ones.", "{x} white and {y} black {t}.", "{x} new {t} and {y} used ones."),
    ),
    "bags": cross(
        ("How many {t} are in {x} ", "How many {t} are there in {x} ", "What number of {t} is in {x} "),
        ("of these?", "of them?", "such ones?"),
    ),
}

STATED = (
    ("{n} was born in {x}.", "In which year was {n} born?", 1900, 2020),
    ("The bridge was built in {x}.", "When was the bridge built?", 1500, 2020),
    ("{n} is {x} years old.", "How old is {n}?", 3, 99),
    ("Bus {x} goes to the station.", "Which bus goes to the station?", 1, 999),
    ("The lesson is in room {x}.", "In which room is the lesson?", 1, 999),
    ("{n} lives at {x} Mill Road.", "What is the number of {n}'s house?", 1, 300),
    ("The picture is on page {x}.", "On which page is the picture?", 1, 999),
    ("The mountain is {x} metres high.", "How high is the mountain?", 400, 8848),
    ("The code of the door is {x}.", "What is the code of the door?", 1000, 9999),
    ("A ticket costs {x} dollars.", "What does a ticket cost?", 2, 300),
    ("The train has {x} seats.", "How many seats does the train have?", 50, 900),
    ("The film lasts {x} minutes.", "How long is the film?", 60, 200),
    ("The parcel weighs {x} grams.", "What does the parcel weigh?", 100, 9999),
    ("The class has {x} pupils.", "How many pupils are in the class?", 10, 40),
    ("{n} has {x} points.", "How many points does {n} have?", 10, 9999),
    ("{n} paid {x} dollars for the coat.", "How much was the coat?", 20, 999),
    ("The village has {x} people.", "How many people live in the village?", 100, 9999),
    ("The book was printed in {x}.", "In which year was the book printed?", 1600, 2020),
    ("{n} ran {x} metres.", "How far did {n} run?", 100, 9999),
    ("The number of the order is {x}.", "Which number does the order have?", 100, 9999),
)

MONTHS = tuple("January February March April May June July August September October November December".split())
WEEKDAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
EVEN_ODD = ("even", "odd")
HELLO = "Hello, {n}!"

ELEMENTS = {1: "hydrogen", 2: "helium", 6: "carbon", 7: "nitrogen", 8: "oxygen", 26: "iron", 29: "copper", 79: "gold"}
CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Cuba": "Havana",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "long": "short",
    "old": "new",
    "day": "night",
    "open": "closed",
    "early": "late",
    "full": "empty",
    "light": "dark",
    "fast": "slow",
}
TRANSLATIONS = {
    "water": "水",
    "fire": "火",
    "mountain": "山",
    "moon": "月",
    "tree": "树",
    "river": "河",
    "book": "书",
    "horse": "马",
    "bird": "鸟",
    "fish": "鱼",
}
TERMS = {"an addition": "sum", "a subtraction": "difference", "a multiplication": "product", "a division": "quotient"}
WORDS = tuple("cat house river garden window letter number calculator sugar mountain".split())

NUMBERED = {
    "repeat": (
        "Repeat the number {x}.",
        "Say {x}.",
        "Write the number {x} once more.",
        "Please repeat: {x}",
        "Copy this number: {x}",
        "Type {x} again, please.",
        "Answer with the number {x}.",
        "Can you write {x}?",
    ),
    "repeat_sum": cross(
        ("", "Please ", "Just ", "Only "),
        ("repeat", "copy", "write down", "type"),
        (" this: {e}", " the words: {e}", " {e} without working it out.", " {e} and do not calculate it."),
    ),
    "phone": (
        "{n}'s phone number is {x}. What is {n}'s phone number?",
        "You can call {n} at {x}. Which number do I call?",
        "My number is {x}. Please say my number.",
        "{n} wrote down the phone number {x}. Which number did {n} write down?",
        "The phone number of the shop is {x}. What is the number of the shop?",
        "Remember this phone number: {x}. Which number was it?",
    ),
    "larger": (
        "Which is larger, {x} or {y}?",
        "Which number is bigger: {x} or {y}?",
        "Of {x} and {y}, which one is greater?",
        "Tell me the larger of {x} and {y}.",
        "Say the greater number, {x} or {y}.",
        "{x} or {y}, which is more?",
    ),
    "date": (
        "Today is {month} {d}. Which month is it?",
        "It is {month} {d}. What month do we have?",
        "The party is on {month} {d}. In which month is the party?",
        "{n}'s birthday is {month} {d}. In which month is it?",
        "The letter is from {month} {d}. Which month is that?",
        "School begins on {month} {d}. In what month does it begin?",
    ),
    "last_digit": (
        "What is the last digit of {x}?",
        "Which digit does {x} end with?",
        "Tell me the last digit of {x}.",
        "With which digit does the number {x} end?",
        "What digit is at the end of {x}?",
        "Give me the final digit of {x}.",
    ),
    "num_digits": (
        "How many digits does {x} have?",
        "Of how many digits is {x}?",
        "How many digits are in the number {x}?",
        "Count the digits of {x}.",
        "How many digits are there in {x}?",
        "What is the number of digits in {x}?",
    ),
    "parity": (
        "Is {x} even or odd?",
        "Is the number {x} odd or even?",
        "Tell me whether {x} is even or odd.",
        "Even or odd: {x}?",
        "What is {x}, even or odd?",
        "Would you call {x} odd or even?",
    ),
    "greet": (
        "Hi, I am {n} and I am {x} years old.",
        "Hello, my name is {n}, I am {x}.",
        "I am {n}, {x} years old. Say hello to me.",
        "My name is {n} and I live in house {x}.",
        "Good morning! I am {n} from room {x}.",
        "{n} is my name, and {x} is my age.",
    ),
    "element": (
        "Which element has the atomic number {x}?",
        "What is element number {x} called?",
        "Name the element with the number {x}.",
        "Which element is number {x}?",
        "What is the name of the element with atomic number {x}?",
        "Atomic number {x} is which element?",
    ),
}

WORDED = {
    "capital": (
        "What is the capital of {x}?",
        "Which city is the capital of {x}?",
        "Name the capital of {x}.",
        "Tell me the capital of {x}.",
        "{x} has which capital?",
        "Do you know the capital of {x}?",
    ),
    "opposite": (
        "What is the opposite of {x}?",
        "Which word is the opposite of {x}?",
        "Name the opposite of {x}.",
        "Tell me the opposite of {x}.",
        "The opposite of {x} is what?",
        "Say the opposite of {x}.",
    ),
    "translation": (
        "What is {x} in Chinese?",
        "How do you say {x} in Chinese?",
        "Translate {x} into Chinese.",
        "Which Chinese word means {x}?",
        "Say {x} in Chinese.",
        "What is the Chinese word for {x}?",
    ),
    "weekday": (
        "Which day comes after {x}?",
        "What day follows {x}?",
        "Today is {x}. What day is tomorrow?",
        "Name the day after {x}.",
        "After {x} comes which day?",
        "If it is {x}, what is the next day?",
    ),
    "letters": (
        "How many letters are in the word {x}?",
        "How many letters does {x} have?",
        "Count the letters of {x}.",
        "How many letters are there in {x}?",
        "What is the number of letters in the word {x}?",
        "The word {x} has how many letters?",
    ),
    "repeat_word": (
        "Repeat the word {x}.",
        "Say {x}.",
        "Write the word {x} once more.",
        "Please repeat: {x}",
        "Copy this word: {x}",
        "Type {x} again, please.",
    ),
    "term": (
        "What do you call the result of {x}?",
        "What is the result of {x} called?",
        "Which word means the result of {x}?",
        "Name the word for the result of {x}.",
        "How is the result of {x} called?",
        "Tell me what the result of {x} is called.",
    ),
}

SMALL_TALK = {
    "Hello!": ("Hello", "Hi!", "Hi there", "Good morning!", "Good evening!", "Hey!", "Hello there!", "Good day!"),
    "You are welcome!": (
        "Thank you!",
        "Thanks.",
        "Thanks a lot!",
        "Many thanks!",
        "Thank you very much.",
        "Great, thanks!",
    ),
    "Goodbye!": ("Bye!", "Goodbye.", "See you!", "See you later!", "Good night!", "Bye for now.", "Until tomorrow!"),
    "I am a small model that can use a calculator.": (
        "Who are you?",
        "What are you?",
        "Tell me about yourself.",
        "What can you do?",
        "Are you a person?",
        "Introduce yourself, please.",
    ),
}
