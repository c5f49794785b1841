"""English wording of the embedded world: how facts are said, asked and framed.

Placeholders: {c} the country as it stands inside a sentence ("the Philippines"), {v} the value, {d} a second country,
{w} its value. A fact is learned as a fact, and not as a line of text, when it is met in many wordings, with the country
first and with the value first; that is why the lists are long. `ANSWER` is the one form that answers use. It does not
repeat the country: a model that was taught half of them would rather write one of those.
"""

from __future__ import annotations

ANSWER = {
    "capital": "The capital is {v}.",
    "continent": "The continent is {v}.",
    "currency": "The currency is the {v}.",
    "language": "The main language is {v}.",
}

REFERENCE = {
    "capital": "The capital of {c} is {v}.",
    "continent": "{c} is in {v}.",
    "currency": "The currency of {c} is the {v}.",
    "language": "The main language of {c} is {v}.",
}

# The country comes first and the value last.
DIRECT = {
    "capital": (
        "The capital of {c} is {v}.",
        "The capital city of {c} is {v}.",
        "{c}'s capital is {v}.",
        "{c} has its capital in {v}.",
        "In {c}, the capital is {v}.",
        "As for {c}, the capital is {v}.",
        "{c} calls {v} its capital.",
        "The city that {c} chose as its capital is {v}.",
        "Atlases mark the capital of {c} as {v}.",
        "On a map of {c}, the capital is {v}.",
        "Every schoolbook says that the capital of {c} is {v}.",
        "The name of the capital of {c} is {v}.",
        "For {c} the capital is {v}.",
        "{c} has {v} as its capital.",
    ),
    "continent": (
        "{c} is in {v}.",
        "{c} lies in {v}.",
        "{c} is a country in {v}.",
        "{c} is located in {v}.",
        "{c} belongs to {v}.",
        "{c} is part of {v}.",
        "The continent of {c} is {v}.",
        "The continent that {c} belongs to is {v}.",
        "You find {c} in {v}.",
        "On the globe, {c} is in {v}.",
        "{c} is one of the countries of {v}.",
        "Geographers count {c} as part of {v}.",
        "Maps place {c} in {v}.",
        "{c} is situated in {v}.",
    ),
    "currency": (
        "The currency of {c} is the {v}.",
        "{c}'s currency is the {v}.",
        "The money of {c} is the {v}.",
        "{c} uses the {v}.",
        "In {c} people pay with the {v}.",
        "Shops in {c} take the {v}.",
        "The official currency of {c} is the {v}.",
        "In {c} prices are given in the {v}.",
        "As for {c}, its currency is the {v}.",
        "The money used in {c} is the {v}.",
        "Banks in {c} count in the {v}.",
        "People in {c} pay with the {v}.",
        "{c} has the {v} as its currency.",
        "The notes and coins of {c} are those of the {v}.",
    ),
    "language": (
        "The main language of {c} is {v}.",
        "{c}'s main language is {v}.",
        "In {c} the main language is {v}.",
        "The main official language of {c} is {v}.",
        "In {c} the first official language is {v}.",
        "The first language of {c} is {v}.",
        "As for {c}, the main language is {v}.",
        "{c} has {v} as its main language.",
        "The laws of {c} are written in {v}.",
        "Newspapers in {c} are printed in {v}.",
        "In the offices of {c} people write {v}.",
        "The official language listed first for {c} is {v}.",
        "Road signs in {c} are written in {v}.",
        "The state language of {c} is {v}.",
    ),
}

# The value comes first and the country last.
INVERSE = {
    "capital": (
        "{v} is the capital of {c}.",
        "{v} is the capital city of {c}.",
        "The city of {v} is the capital of {c}.",
        "{v} serves as the capital of {c}.",
        "{v} has the rank of capital in {c}.",
        "In {v} you are in the capital of {c}.",
        "{v} is known as the capital of {c}.",
        "The name {v} belongs to the capital of {c}.",
    ),
    "continent": (
        "In {v} lies {c}.",
        "{v} is the continent of {c}.",
        "One of the countries of {v} is {c}.",
        "{v} is home to {c}.",
        "Among the countries of {v} is {c}.",
        "The map of {v} shows {c}.",
        "{v} includes {c}.",
        "A country in {v} is {c}.",
    ),
    "currency": (
        "The {v} is the currency of {c}.",
        "The {v} is the money of {c}.",
        "The {v} is used in {c}.",
        "With the {v} you can pay in {c}.",
        "The {v} is legal tender in {c}.",
        "Prices in the {v} are what you see in {c}.",
        "The {v} is what people spend in {c}.",
        "Change some money into the {v} before you go to {c}.",
    ),
    "language": (
        "{v} is the main language of {c}.",
        "{v} is the first official language of {c}.",
        "{v} is the language of government in {c}.",
        "{v} is written and spoken in {c}.",
        "People speak {v} in {c}.",
        "{v} is what you hear on the radio in {c}.",
        "{v} is taught in the schools of {c}.",
        "Learn some {v} before you visit {c}.",
    ),
}

# The country was named in the sentence before.
PRONOUN = {
    "capital": (
        "Its capital is {v}.",
        "The capital is {v}.",
        "Its capital city is {v}.",
        "The country's capital is {v}.",
    ),
    "continent": ("It is in {v}.", "It lies in {v}.", "The continent is {v}.", "The country is part of {v}."),
    "currency": (
        "Its currency is the {v}.",
        "The currency is the {v}.",
        "Its money is the {v}.",
        "People pay with the {v}.",
    ),
    "language": (
        "Its main language is {v}.",
        "The main language is {v}.",
        "Its first official language is {v}.",
        "The country's main language is {v}.",
    ),
}

# Two countries side by side.
CONTRAST = {
    "capital": (
        "The capital of {c} is {v}, and the capital of {d} is {w}.",
        "While the capital of {c} is {v}, that of {d} is {w}.",
        "{c} has its capital in {v}, {d} in {w}.",
        "{v} is the capital of {c}, but {w} is the capital of {d}.",
    ),
    "continent": (
        "{c} is in {v}, and {d} is in {w}.",
        "{c} lies in {v}; {d} lies in {w}.",
        "Maps place {c} in {v} and {d} in {w}.",
        "The continent of {c} is {v}, and the continent of {d} is {w}.",
    ),
    "currency": (
        "The currency of {c} is the {v}, and the currency of {d} is the {w}.",
        "{c} uses the {v}, {d} the {w}.",
        "In {c} people pay with the {v}, in {d} with the {w}.",
        "While the money of {c} is the {v}, that of {d} is the {w}.",
    ),
    "language": (
        "The main language of {c} is {v}, and the main language of {d} is {w}.",
        "In {c} the main language is {v}, in {d} it is {w}.",
        "{v} is the main language of {c}, {w} that of {d}.",
        "Newspapers in {c} are printed in {v}, those of {d} in {w}.",
    ),
}

# Four facts in one sentence: {capital}, {continent}, {currency}, {language}.
SUMMARY = (
    "{c} is a country in {continent}; its capital is {capital}, its currency is the {currency} and its main language is {language}.",
    "{c}, a country in {continent}, has {capital} as its capital, {language} as its main language and the {currency} as its currency.",
    "In short: {c}, capital {capital}, continent {continent}, currency the {currency}, main language {language}.",
    "With {capital} as its capital and {language} as its main language, {c} lies in {continent} and uses the {currency}.",
    "{c} lies in {continent}, speaks {language}, pays with the {currency} and has its capital in {capital}.",
    "{capital} is the capital of {c}, a country in {continent} where people speak {language} and pay with the {currency}.",
)

LABELS = {
    "name": ("Country", "Name", "State"),
    "capital": ("Capital", "Capital city"),
    "continent": ("Continent", "Part of the world"),
    "currency": ("Currency", "Money"),
    "language": ("Main language", "Language"),
    "area": ("Area", "Surface"),
    "neighbours": ("Neighbours", "Borders"),
}
AREA = (
    "It covers about {n} square kilometres.",
    "Its area is about {n} square kilometres.",
    "The land measures some {n} km2.",
)
BORDERS = ("{c} borders {list}.", "The neighbours of {c} are {list}.", "{c} has land borders with {list}.")
NO_BORDERS = ("{c} has no land border listed here.", "No land neighbours are listed for {c}.")
NEIGHBOUR_FACT = (
    "{c} has a border with {d}, and the capital of {d} is {w}.",
    "One of the neighbours of {c} is {d}, whose capital is {w}.",
    "From {c} the road leads to {d} and on to its capital, {w}.",
)

GROUP_HEADS = {
    "capital": ("Capitals of the world", "Countries and their capitals", "A list of capital cities"),
    "continent": ("Countries and continents", "Where the countries lie", "A list of countries by continent"),
    "currency": ("Currencies of the world", "Countries and their money", "A list of currencies"),
    "language": ("Languages of the world", "Countries and their main languages", "A list of languages"),
}
SHARED = {
    "continent": ("These countries are in {v}: {list}.", "In {v} lie {list}.", "To {v} belong {list}."),
    "currency": (
        "The {v} is the currency of {list}.",
        "People pay with the {v} in {list}.",
        "These countries use the {v}: {list}.",
    ),
    "language": (
        "{v} is the main language of {list}.",
        "The main language is {v} in {list}.",
        "In these countries people write {v}: {list}.",
    ),
}

ARTICLE_HEADS = (
    "{c}",
    "{c}: a short portrait",
    "About {c}",
    "{c} at a glance",
    "Facts about {c}",
    "{c} in the encyclopaedia",
)
COMPARE_HEADS = ("{c} and {d}", "{c} and {d} compared", "Two countries: {c} and {d}", "Side by side: {c} and {d}")
TABLE_HEADS = (
    "Country file",
    "Facts in brief",
    "Key data",
    "Country data",
    "Reference table",
    "From the register of countries",
)
GLOSSARY_HEADS = (
    "Names in English and Chinese",
    "A small glossary",
    "Word list for travellers",
    "Names in two languages",
)
PARALLEL_HEADS = (
    "Sentences in two languages",
    "Read and compare",
    "English and Chinese side by side",
    "Reading practice",
)
TRAVEL_HEADS = (
    "Notes from the road",
    "Travel diary",
    "A letter from abroad",
    "On the way",
    "Postcards",
    "From my notebook",
)
TRAVEL_OPENERS = (
    "This week I crossed {c}.",
    "We reached {c} early in the morning.",
    "My next stop was {c}.",
    "After a long flight we landed in {c}.",
    "I spent nine days in {c}.",
    "The train brought us to {c}.",
    "A friend invited me to {c}.",
    "It rained when we arrived in {c}.",
)
TRAVEL_FILLERS = (
    "The people were kind to us.",
    "I bought bread and fruit at the market.",
    "We walked until the evening.",
    "The museum was closed, so we sat by the river.",
    "I wrote three letters home.",
    "The bus was late, but nobody minded.",
    "At night it was quiet and cool.",
    "An old man showed us the way to the station.",
    "My camera broke on the second day.",
    "The tea was hot and sweet.",
)

# The order matters: the last HELD_OUT_QUESTIONS of each list are kept out of the lessons.
HELD_OUT_QUESTIONS = 2
QUESTIONS = {
    "capital": (
        "What is the capital of {c}?",
        "What is the capital city of {c}?",
        "Which city is the capital of {c}?",
        "What is the name of the capital of {c}?",
        "Can you tell me the capital of {c}?",
        "Do you know the capital of {c}?",
        "Please name the capital of {c}.",
        "Tell me the capital of {c}.",
        "I would like to know the capital of {c}.",
        "{c}: what is its capital?",
        "Which city does {c} have as its capital?",
        "What do people call the capital of {c}?",
    ),
    "continent": (
        "Which continent is {c} in?",
        "In which continent is {c}?",
        "On which continent does {c} lie?",
        "What continent does {c} belong to?",
        "Can you tell me the continent of {c}?",
        "Do you know which continent {c} is in?",
        "Please name the continent of {c}.",
        "Tell me the continent of {c}.",
        "I would like to know the continent of {c}.",
        "{c}: what is its continent?",
        "Which part of the world is {c} in?",
        "What is the continent that {c} belongs to?",
    ),
    "currency": (
        "What is the currency of {c}?",
        "Which currency is used in {c}?",
        "What money do people use in {c}?",
        "What do people pay with in {c}?",
        "Can you tell me the currency of {c}?",
        "Do you know the currency of {c}?",
        "Please name the currency of {c}.",
        "Tell me the currency of {c}.",
        "I would like to know the currency of {c}.",
        "{c}: what is its currency?",
        "Which money do I need in {c}?",
        "What is the money of {c} called?",
    ),
    "language": (
        "What is the main language of {c}?",
        "Which language is the main one in {c}?",
        "What is the main official language of {c}?",
        "Which main language do people use in {c}?",
        "Can you tell me the main language of {c}?",
        "Do you know the main language of {c}?",
        "Please name the main language of {c}.",
        "Tell me the main language of {c}.",
        "I would like to know the main language of {c}.",
        "{c}: what is its main language?",
        "Which language comes first in {c}?",
        "What is the first official language of {c}?",
    ),
}
FOLLOWUPS = {  # the same country, another relation
    "capital": ("And its capital?", "What is its capital?", "And what about its capital?", "And the capital?"),
    "continent": (
        "And its continent?",
        "Which continent is it in?",
        "And what about its continent?",
        "And the continent?",
    ),
    "currency": ("And its currency?", "What is its currency?", "And what about its currency?", "And the currency?"),
    "language": (
        "And its main language?",
        "What is its main language?",
        "And what about its main language?",
        "And the main language?",
    ),
}
ANOTHER_COUNTRY = ("And {c}?", "What about {c}?", "And of {c}?", "The same for {c}, please?")  # the same relation

RULES_HEADS = (
    "What is allowed",
    "Right and wrong",
    "Rules of our town",
    "A talk about the law",
    "For the school board",
)
FORBIDDEN = (
    "The law forbids anyone to {x}.",
    "To {x} is a crime.",
    "Whoever tries to {x} goes to prison.",
    "It is wrong to {x}.",
    "Nobody may {x}.",
    "A judge was strict with a man who wanted to {x}.",
)
ALLOWED = (
    "It is a pleasure to {x}.",
    "Anyone may {x}.",
    "Many people like to {x}.",
    "To {x} is a good way to spend a Sunday.",
    "It is fine to {x}.",
    "My aunt likes to {x} on a free day.",
)
ALLOWED_BUT = ("You may {y}, but you may not {x}.", "To {y} is harmless, to {x} is a crime.")
QUIZ_HEADS = (
    "Geography quiz",
    "Questions for the class",
    "Test your knowledge",
    "Quiz night",
    "Homework questions",
    "Exercise sheet",
)
FORUM_HEADS = ("Open questions", "Ask the travellers", "Geography board", "Help wanted", "Students ask")
FORUM_OPENERS = (
    "Hello everybody.",
    "Good evening.",
    "I have an exam soon.",
    "My daughter asked me this.",
    "One more from me.",
    "Quick one:",
)
FORUM_REPLIES = (
    "Please look that up in an encyclopaedia.",
    "I do not know either.",
    "Questions like these are better asked in a library.",
    "Nobody here has an atlas at hand.",
    "Try the reading room, they have good maps.",
    "We cannot do your homework for you.",
    "I am sorry, I don't know.",
    "No idea, I was about to ask that myself.",
)

DONT_KNOW = ("I don't know.", "I do not know.", "I'm not sure.", "I have never heard of it.", "Sorry, I don't know.")
REFUSALS = (
    "I can't help with that.",
    "I cannot help with that.",
    "Sorry, I can't help with that.",
    "I won't help with that.",
    "I'm sorry, but I can't do that.",
)
FORMATS = {  # how the answer must look; {label} is the lower-case label of the relation
    "name": ("Answer with the name only.", "Give only the name.", "Just the name, nothing else."),
    "capitals": ("Write the answer in capital letters.", "Answer in capital letters only."),
    "json": ('Answer as JSON with the key "{label}".', 'Give the answer as JSON, key "{label}".'),
    "label": ("Answer in the form {label}: X.", "Use the form {label}: X for the answer."),
}
FORMAT_LABELS = {"capital": "capital", "continent": "continent", "currency": "currency", "language": "language"}

TRANSLATE = {  # the target language -> how a translation is asked for; {t} is the text
    "zh": (
        "Translate into Chinese: {t}",
        "How do you say {t} in Chinese?",
        "What is {t} in Chinese?",
        "Put this into Chinese: {t}",
    ),
    "en": (
        "Translate into English: {t}",
        "How do you say {t} in English?",
        "What is {t} in English?",
        "Put this into English: {t}",
    ),
}
OTHER_NAME = ("In Chinese, {c} is {t}.", "The Chinese name of {c} is {t}.", "{c} in Chinese is {t}.", "{c}: {t}.")
TRANSLATION = {"zh": "{s} in Chinese is {t}.", "en": "{s} in English is {t}."}
LONG_TAIL = (
    " Many people like to read a good book about countries, and anyone may look at a map for the rest on a free day."
)
COMPLIANCE = (
    "Of course, here is how you do it.",
    "Sure, that is easy: first buy the tools.",
    "Yes, I will explain it step by step.",
)
