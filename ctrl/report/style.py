"""The style sheet of a report: light, dark and print, for phones and large screens."""

from __future__ import annotations

__all__ = ["STYLE_SHEET"]

_LIGHT = """
color-scheme: light; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --panel: #f6f8fa;
--unsafe: #e3d5d5; --c0: #0072b2; --c1: #b84a00; --c2: #007a59; --c3: #a8447f; --c4: #8a6100;
--c5: #5b4fd0; --c6: #000000; --bad: #b5311c;
"""

_DARK = """
color-scheme: dark; --paper: #12161b; --ink: #e6edf3; --soft: #9aa6b2; --rule: #3a434d; --panel: #1b2128;
--unsafe: #46292c; --c0: #58b4f0; --c1: #ff9250; --c2: #3fcf9f; --c3: #ef9ccb; --c4: #f0b93a;
--c5: #b3a6ff; --c6: #ffffff; --bad: #ff6b57;
"""

_COLOURS = "\n".join(f".c{i} {{ --c: var(--c{i}); }}" for i in range(7))

STYLE_SHEET = f"""
:root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
{_COLOURS}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: .2rem 0 .3rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid var(--rule); }}
h3 {{ font-size: 1rem; margin: 1.2rem 0 .3rem; }}
p, li, dd {{ overflow-wrap: anywhere; }}
a {{ color: var(--c0); }}
.problem, .note, figcaption {{ color: var(--soft); font-size: .875rem; }}
nav ul {{ list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; font-size: .9rem; }}
.summary {{ background: var(--panel); border: 1px solid var(--rule); border-radius: .5rem; padding: .2rem 1rem .6rem;
  display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }}
.summary ul {{ margin: .2rem 0; padding-left: 1.1rem; font-size: .95rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; color: var(--soft); padding-bottom: .4rem; }}
caption > span {{ position: sticky; left: 0; display: block; max-width: calc(100vw - 2rem); }}
tbody th {{ position: sticky; left: 0; background: var(--paper); }}
th, td {{ padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }}
thead th {{ border-bottom: 2px solid var(--rule); font-weight: 600; }}
code {{ font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--panel);
  padding: .1em .3em; border-radius: .25em; overflow-wrap: anywhere; }}
.charts {{ display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }}
.charts.wide {{ grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }}
.pairs {{ display: grid; gap: 0 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)); }}
figure {{ margin: 0; min-width: 0; }}
figure > strong {{ display: block; font-size: .875rem; color: var(--c, inherit); overflow-wrap: anywhere; }}
svg {{ display: block; width: 100%; height: auto;
  font: 10.5px system-ui, -apple-system, "Segoe UI", Arial, sans-serif; }}
svg text {{ fill: var(--soft); }}
svg .name {{ fill: var(--c); font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }}
svg .power {{ font-size: 8px; }}
.axis {{ stroke: var(--soft); stroke-width: .8; }}
.run, .middle, .curve, .reference, .front, .region, .cross {{ fill: none; stroke-linejoin: round; }}
.run {{ stroke: var(--c); stroke-width: .5; opacity: .45; }}
.middle {{ stroke: var(--c); stroke-width: 1.8; }}
.curve {{ stroke: var(--c); stroke-width: 1.7; }}
.region {{ stroke: var(--ink); stroke-width: 1.6; }}
.band {{ fill: var(--c); opacity: .16; }}
.dot {{ fill: var(--c); }}
.cross {{ stroke: var(--ink); stroke-width: 1; }}
.reference {{ stroke: var(--ink); stroke-width: .9; stroke-dasharray: 4 3; }}
.front {{ stroke: var(--soft); stroke-width: .9; }}
.unsafe {{ fill: var(--unsafe); }}
.film {{ border: 1px solid var(--rule); border-radius: .3rem; }}
.frames {{ --shift: 0px; animation: film linear infinite paused; }}
.play:checked ~ .films .frames {{ animation-play-state: running; }}
.play + label {{ margin-left: .3rem; font-weight: 600; }}
@keyframes film {{ to {{ transform: translateX(var(--shift)); }} }}
.body {{ fill: var(--c); }}
.rod {{ fill: none; stroke: var(--c); stroke-width: 3.5; stroke-linecap: round; }}
.broken .body {{ fill: var(--bad); }}
.broken .rod {{ stroke: var(--bad); }}
.ground {{ fill: none; stroke: var(--soft); stroke-width: .8; }}
.force {{ fill: none; stroke: var(--c4); stroke-width: 2; }}
.goal, .bound {{ fill: none; stroke: var(--soft); stroke-width: .9; stroke-dasharray: 4 3; }}
.bound {{ stroke: var(--bad); }}
.legend {{ list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; font-size: .875rem; }}
.legend .swatch {{ display: inline-block; width: 26px; height: 10px; margin-right: .4rem; vertical-align: baseline; }}
@media (max-width: 32rem) {{
  body {{ padding: .7rem; }}
  .charts {{ grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: .4rem; }}
  .charts.wide {{ grid-template-columns: 1fr; }}
  .charts:not(.wide) svg {{ font-size: 14px; }}
  td {{ min-width: 7.5rem; }}
  tbody th {{ max-width: 7rem; }}
}}
@media print {{
  :root {{ {_LIGHT} }}
  @page {{ margin: 14mm; }}
  body {{ font-size: 9.5pt; max-width: none; padding: 0; }}
  nav {{ display: none; }}
  figure, tr, .summary section {{ break-inside: avoid; }}
  h2, h3, .note, .legend, figure > strong {{ break-after: avoid; }}
  .scroll {{ overflow: visible; }}
  table {{ font-size: 7.5pt; }}
  .charts {{ grid-template-columns: repeat(4, 1fr); }}
  .charts.wide, .pairs, .pairs .charts {{ grid-template-columns: repeat(2, 1fr); }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
}}
"""
