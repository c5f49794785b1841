"""The English of the world of sums: every list is split into what is trained on and what is asked in the exam.

{a} {b} {c} are the numbers of a formula; inside a part of a story its numbers are {x} and {y}. {n} and {m} are people, {p}
the one who is asked about, {t} things, {u} their measure word (Chinese alone).
"""

from __future__ import annotations

REPLY = "The answer is {r}."

NAMES = tuple(
    "Mia Tom Anna Ben Lucy Sam Nora Paul Emma Leo Ruth Jack Ida Max Clara Hugo Ella Finn Jane Oscar Rosa Peter Alma Karl "
    "Grace Henry Lena Simon Vera Walter".split()
)
THINGS = tuple(
    (thing, "")
    for thing in (
        "apples|pears|pens|books|stamps|coins|cards|marbles|stickers|shells|eggs|buttons|candles|cups|plates|flowers|balls|"
        "stones|tickets|oranges|postcards|spoons|bottles|toy cars|photos|nuts|ribbons|badges|chairs|lamps"
    ).split("|")
)

FRAMES = (
    "What is {e}?",
    "What's {e}?",
    "Calculate {e}.",
    "Compute {e}.",
    "Please work out {e}.",
    "Work out {e} for me.",
    "Can you tell me {e}?",
    "Could you calculate {e}, please?",
    "I need to know {e}.",
    "Tell me {e}.",
    "How much is {e}?",
    "Find {e}.",
    "What does {e} come to?",
    "What do you get for {e}?",
    "Give me {e}.",
    "Do you know {e}?",
    "Quick question: what is {e}?",
    "My homework asks for {e}.",
    "Help me with {e}.",
    "Solve this: {e}.",
    "I would like to know {e}.",
    "Please compute {e} for me.",
    "{e} = ?",
    "{e} is how much?",
    "{e}, please.",
    "What would {e} be?",
    "Hello! What is {e}?",
    "For my bill I need {e}.",
    "{e}",
    "I cannot work out {e}. Can you?",
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

PARTS = {
    "start": (
        "{n} has {x} {t}.",
        "{n} owns {x} {t}.",
        "There are {x} {t} on {n}'s table.",
        "{n} keeps {x} {t} in a drawer.",
        "In the morning {n} has {x} {t}.",
        "{n} brought {x} {t} along.",
        "{n} counts {x} {t}.",
        "On Monday there are {x} {t}.",
    ),
    "gain": (
        "Then {n} buys {x} more.",
        "A friend brings {x} more.",
        "{x} more are added.",
        "Later {n} gets another {x}.",
        "{n} finds {x} more.",
        "Another {x} arrive.",
        "{n} is given {x} more as a present.",
        "The next day {x} more come in.",
    ),
    "lose": (
        "Then {n} sells {x} of them.",
        "{n} gives {x} of them away.",
        "{x} of them get lost.",
        "A friend takes {x} of them.",
        "{x} of them break.",
        "{n} throws {x} of them away.",
        "Later {n} loses {x} of them.",
        "The next day {x} of them are gone.",
    ),
    "now": (
        "How many {t} does {n} have now?",
        "How many {t} are there now?",
        "How many {t} is that now?",
        "What is the number of {t} now?",
        "How many {t} are there in the end?",
        "How many {t} are there after that?",
    ),
    "left": (
        "How many {t} are left?",
        "How many {t} remain?",
        "How many {t} does {n} still have?",
        "How many of the {t} are left over?",
        "How many {t} does {n} have left?",
        "What number of {t} remains?",
    ),
    "first": (
        "How many {t} were there at first?",
        "How many {t} did {n} have at first?",
        "How many {t} were there before that?",
        "With how many {t} did it begin?",
        "What was the number of {t} at the beginning?",
        "How many {t} were there to begin with?",
    ),
    "both": (
        "{n} has {x} {t} and {m} has {y}.",
        "{n} owns {x} {t}, {m} owns {y}.",
        "There are {x} {t} in {n}'s bag and {y} in {m}'s.",
        "{n} collected {x} {t}; {m} collected {y}.",
        "{n} brings {x} {t} and {m} brings {y} {t}.",
        "While {n} has {x} {t}, {m} has {y}.",
        "{n} got {x} {t}. {m} got {y}.",
    ),
    "together": (
        "How many {t} do they have together?",
        "How many {t} do {n} and {m} have altogether?",
        "How many {t} is that in total?",
        "What is the total number of {t}?",
        "If they put them together, how many {t} are there?",
        "How many {t} are there in all?",
    ),
    "more": (
        "How many more {t} does {n} have than {m}?",
        "How many fewer {t} does {m} have than {n}?",
        "By how many {t} does {n} have more than {m}?",
        "How many {t} does {m} need to have as many as {n}?",
        "What is the difference between their numbers of {t}?",
        "How many more {t} are {n}'s than {m}'s?",
    ),
    "asked": (
        "How many {t} does {p} have?",
        "How many {t} belong to {p}?",
        "How many of the {t} are {p}'s?",
        "What number of {t} does {p} have?",
        "And how many {t} has {p}?",
        "Say how many {t} {p} has.",
    ),
    "groups": (
        "There are {x} boxes with {y} {t} in each.",
        "{n} has {x} bags, and each bag holds {y} {t}.",
        "{n} buys {x} packs of {y} {t}.",
        "There are {x} shelves with {y} {t} each.",
        "{n} fills {x} baskets with {y} {t} each.",
        "Each of the {x} tables has {y} {t} on it.",
        "{n} makes {x} rows of {y} {t}.",
        "In each of the {x} boxes there are {y} {t}.",
    ),
    "all": (
        "How many {t} are there in all?",
        "How many {t} is that altogether?",
        "How many {t} does {n} have in total?",
        "What is the total number of {t}?",
        "How many {t} are there together?",
        "How many {t} are there?",
    ),
    "share": (
        "{n} shares {x} {t} equally among {y} friends.",
        "{x} {t} are put into {y} boxes, the same number in each.",
        "{n} divides {x} {t} evenly between {y} children.",
        "{y} people split {x} {t} equally.",
        "{n} gives {x} {t} to {y} children in equal shares.",
        "{x} {t} are shared evenly by {y} people.",
        "{n} puts {x} {t} on {y} tables, equally many on each.",
    ),
    "each": (
        "How many {t} does each one get?",
        "How many {t} is that for each?",
        "How many {t} are in each share?",
        "What is the share of each one?",
        "How many {t} does one of them get?",
        "How many {t} are there for each one?",
    ),
    "price": (
        "One of the {t} costs {x} dollars.",
        "{n} sells {t} at {x} dollars each.",
        "The price of the {t} is {x} dollars each.",
        "Each of the {t} costs {x} dollars.",
        "The {t} cost {x} dollars apiece.",
        "A shop sells {t} for {x} dollars each.",
    ),
    "cost": (
        "What do {x} {t} cost?",
        "How much does {n} pay for {x} {t}?",
        "What is the price of {x} of them?",
        "{n} takes {x} of them. How much is that?",
        "How many dollars are {x} {t}?",
        "How much do {x} of them cost?",
    ),
    "pooled": (
        "They put them together and share them equally among {x} children.",
        "All of them are shared equally by {x} friends.",
        "They divide all of them evenly between {x} people.",
        "All of them are put into {x} boxes, equally many in each.",
        "They share all of them evenly with {x} children.",
    ),
    "mixed": (
        "A bag holds {x} red and {y} blue {t}.",
        "In every bag there are {x} large {t} and {y} small ones.",
        "One bag has {x} old {t} and {y} new ones.",
        "Each bag contains {x} white and {y} black {t}.",
        "{n} puts {x} red {t} and {y} green ones into each bag.",
    ),
    "bags": (
        "How many {t} are in {x} bags?",
        "How many {t} do {x} bags hold?",
        "{n} has {x} bags. How many {t} is that?",
        "What is the number of {t} in {x} bags?",
        "How many {t} are there in {x} such bags?",
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
    "repeat_sum": (
        "Repeat after me: {e}",
        "Do not calculate, just copy: {e}",
        "Copy this line: {e}",
        "Write down {e} without working it out.",
        "Please repeat the words: {e}",
        "Only type this again: {e}",
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
