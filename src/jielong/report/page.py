"""The style sheet of the report, with one set of colours for light screens and one for dark.

No font, image or script is fetched: the fonts are those of the reader's system, Chinese ones included.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #23262b; --muted: #6a6f78; --line: #e5e2db;
  --c1: #3b6ea5; --c2: #c8692b; --c3: #2e7d5b; --c4: #7a5aa6;
  --good: #2e7d5b; --good-soft: #e6f2ec; --bad: #b4473d; --bad-soft: #f8e9e7; --warn: #a8741a; --warn-soft: #faf1de;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --card: #1c1f23; --ink: #e7e5e0; --muted: #9ba0a8; --line: #2e3238;
    --c1: #7fb0e3; --c2: #e9a263; --c3: #6fc49c; --c4: #b79be0;
    --good: #6fc49c; --good-soft: #1b2f27; --bad: #ea8d83; --bad-soft: #352221; --warn: #dfb35f; --warn-soft: #302918;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", "Noto Sans SC", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 48px 28px 96px; }
header { margin-bottom: 28px; }
.brand { margin: 0; color: var(--muted); letter-spacing: .04em; }
h1 { margin: 2px 0 0; font-size: 32px; font-weight: 650; letter-spacing: -.01em; }
h2 { margin: 0 0 16px; font-size: 21px; font-weight: 620; }
section { margin-top: 56px; }
.muted { color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 12px; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tiles b { display: block; font-size: 22px; letter-spacing: -.01em; font-weight: 620; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tiles span { display: block; color: var(--muted); font-size: 13.5px; line-height: 1.35; }
aside {
  margin-top: 20px; padding: 14px 20px; border-radius: 10px; background: var(--warn-soft);
  border-left: 4px solid var(--warn);
}
aside h2 { font-size: 16px; margin: 0 0 4px; color: var(--warn); }
aside ul { margin: 0; padding-left: 20px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.results { width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: 10px; border-spacing: 0;
  border-collapse: separate; overflow: hidden; }
.results th, .results td { padding: 9px 16px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
.results thead th { border-top: 0; color: var(--muted); font-weight: 560; white-space: normal; vertical-align: bottom; }
.results th:first-child { text-align: left; font-weight: 500; }
.results .control { color: var(--muted); }
.results td.best { color: var(--good); font-weight: 680; background: var(--good-soft); }
p.gains { margin-bottom: 2px; } ul.gains { margin: 0; padding-left: 20px; }
.way { color: var(--muted); font-size: 13px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 12px 32px; font-size: 14px; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; color: var(--muted); }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 18px; }
article { margin-top: 14px; }
article .label { margin: 0 0 2px; font-size: 13px; color: var(--muted); display: flex; flex-wrap: wrap; gap: 0 12px; }
.label .better { color: var(--good); } .label .worse { color: var(--bad); }
.chosen p { margin: 0; } .chosen ul { margin: 2px 0; padding-left: 20px; }
article h3 { margin: 0 0 10px; font-size: 16px; font-weight: 600; white-space: pre-wrap; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 14px; }
.answer { border-top: 3px solid var(--line); padding-top: 6px; min-width: 0; }
.answer.right { border-color: var(--good); } .answer.wrong { border-color: var(--bad); }
.answer h4 { margin: 0 0 2px; font-size: 13.5px; font-weight: 560; color: var(--muted); display: flex;
  justify-content: space-between; }
.right .mark { color: var(--good); } .wrong .mark { color: var(--bad); }
.mark { font-weight: 700; }
.answer .text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 11em; overflow-y: auto; font-size: 15px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px 8px; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 12px; margin-bottom: 6px; }
figcaption span { color: var(--muted); font-size: 13px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .axis { stroke: var(--muted); stroke-width: 1; opacity: .6; }
svg polyline { fill: none; stroke: currentColor; stroke-linejoin: round; stroke-linecap: round; }
svg .line { stroke: currentColor; stroke-width: 2; }
svg .faint { stroke-width: 1; opacity: .3; } svg .path { stroke-width: 1; opacity: .35; }
svg .dot { fill: currentColor; }
.c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); } .c4 { color: var(--c4); }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 6px 14px; align-items: center;
  font-variant-numeric: tabular-nums; margin-bottom: 24px; }
.rail { background: var(--line); border-radius: 4px; height: 10px; overflow: hidden; }
.rail i { display: block; height: 100%; min-width: 2px; background: var(--c1); border-radius: 4px; }
.rail i.good { background: var(--good); }
.count { text-align: right; } .count em { color: var(--muted); font-style: normal; font-size: 13px; display: inline-block;
  min-width: 4em; }
.facts th { text-align: left; font-weight: 500; color: var(--muted); padding: 3px 28px 3px 0; vertical-align: top; }
.facts td { padding: 3px 0; overflow-wrap: anywhere; }
@media (max-width: 720px) {
  main { padding: 28px 14px 64px; }
  .results { font-size: 13px; } .results th, .results td { padding: 6px 5px; } .results th:first-child { padding-left: 10px; }
  .results tbody th { white-space: normal; min-width: 6.5em; } svg text { font-size: 15px; } .results thead th { font-size: 10.5px; }
  .bars { grid-template-columns: minmax(5em, max-content) 1fr max-content; gap: 6px 8px; font-size: 14px; }
  .facts th { padding-right: 12px; }
}
@media print { body { background: none; } article, figure { break-inside: avoid; } .answer .text { max-height: none; } }
"""
