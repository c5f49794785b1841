"""All commands at a glance, in groups and in 24 lines of 80 columns; and an example of each, which opens its own help."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: Mapping[str, Mapping[str, str]] = {
    "begin": {
        "quickstart": "the whole road, once",
        "chat": "talk in the terminal",
        "serve": "a page, and an API",
        "inspect": "what a file holds",
    },
    "train": {
        "run": "a recipe; own texts",
        "adapt": "fine-tune a model",
        "learn": "from judgements",
        "tune": "search for settings",
        "fields": "settings of a recipe",
        "estimate": "cost, before training",
    },
    "ask": {
        "ask": "votes, plans, tools",
        "generate": "go on with a text",
        "library": "your own documents",
        "spell": "search for a prompt",
        "act": "a world told in text",
    },
    "measure": {
        "evaluate": "on tasks",
        "judge": "two result files",
        "quality": "of rounded weights",
        "feedback": "people's judgements",
    },
    "runs": {
        "report": "of a finished run",
        "compare": "runs, or stages",
        "gauge": "when to stop RL",
        "lineage": "where it came from",
        "check": "all files are whole",
        "tensorboard": "the curves there",
    },
    "models": {
        "import": "GGUF, other folders",
        "export": "GGUF, Hugging Face",
        "extend": "longer context (YaRN)",
        "push": "to a folder or hub",
        "pull": "from a folder or hub",
        "models": "those of a server",
        "alias": "a short name",
        "completion": "for your shell",
    },
}
"""A few words for each command."""

EXAMPLES: Mapping[str, str] = {
    "quickstart": "jielong quickstart --size smoke",
    "run": "jielong run own --source DIR --chat FILE.jsonl",
    "fields": "jielong fields quickstart learning_rate",
    "tune": "jielong tune quickstart --stage pretrain --budget 30m --trials 12",
    "inspect": "jielong inspect FILE.jsonl",
    "chat": 'jielong chat model.gguf --system "Answer in one sentence."',
    "serve": "jielong serve models/mine --library library.db",
    "generate": 'jielong generate models/mine "Once upon a time" --show',
    "ask": "jielong ask MODEL 'What is 17 times 23?' --strategy vote:n=5 --show",
    "evaluate": "jielong evaluate MODEL --task sums --limit 100 --against vote:n=5",
    "judge": "jielong judge A/results.jsonl B/results.jsonl --model JUDGE",
    "feedback": "jielong feedback export judged.jsonl --format trl",
    "learn": "jielong learn --base models/mine",
    "library": "jielong library add DIR",
    "spell": "jielong spell MODEL --task questions.jsonl --scorings 20",
    "act": "jielong act --policy solver --goals 3 --language en --show",
    "import": "jielong import model.gguf --out models/mine",
    "export": "jielong export runs/tea --format gguf --type q8_0",
    "extend": "jielong extend models/mine --positions 16384",
    "push": "jielong push models/mine hf:OWNER/NAME",
    "pull": "jielong pull hf:OWNER/NAME --out models/mine",
    "quality": "jielong quality models/mine",
    "models": "jielong models http://localhost:8080/v1",
    "alias": "jielong alias mine http://localhost:8080/v1#NAME",
    "adapt": "jielong adapt models/mine --chat FILE.jsonl --epochs 3",
    "check": "jielong check runs/quickstart-default-0",
    "report": "jielong report runs/quickstart-default-0 --language zh",
    "compare": 'jielong compare runs/quickstart-default-0 "What is the capital of Peru?"',
    "gauge": "jielong gauge runs/quickstart-default-0",
    "lineage": "jielong lineage runs/quickstart-default-0",
    "tensorboard": "jielong tensorboard runs/quickstart-default-0",
    "estimate": "jielong estimate gpt3",
    "completion": "jielong completion bash",
}

_LABEL, _NAME, _COLUMN = 9, 12, 35


def overview() -> str:
    """Return the help of `jielong` itself."""
    lines = [
        "usage: jielong COMMAND ...",
        "From raw text to an assistant, on one machine. Start with: jielong quickstart",
        "",
    ]
    for group, commands in GROUPS.items():
        cells = [f"{name:<{_NAME}}{said}" for name, said in commands.items()]
        for at in range(0, len(cells), 2):
            label = group if at == 0 else ""
            lines.append(f"{label:<{_LABEL}}{cells[at]:<{_COLUMN}}{''.join(cells[at + 1 : at + 2])}".rstrip())
    return "\n".join([*lines, "", "jielong COMMAND --help begins with an example.  jielong --version"]) + "\n"
