"""The frame of an HTML report: style and script inside the page, and a policy that forbids it to load anything."""

from __future__ import annotations

from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --good: #0a7d36; --warning: #b35900; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line); padding: .2rem .8rem; }
th { text-align: left; font-weight: 600; } td { text-align: right; } .texts td { text-align: left; }
.good { color: var(--good); font-weight: 600; } .warning { color: var(--warning); font-weight: 600; }
.columns { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; } section { min-width: 0; }
@media (max-width: 50rem) { .columns { grid-template-columns: 1fr; } }
summary { cursor: pointer; overflow-wrap: anywhere; } ol { margin: .3rem 0; }
li { overflow-wrap: anywhere; } li small { display: block; } small { opacity: .7; }
input { font: inherit; padding: .3rem .6rem; width: min(30rem, 100%); }
"""

_SCRIPT: Final = """
const search = document.getElementById('search'), found = document.getElementById('found');
const folds = [...document.querySelectorAll('section details')].map(fold => ({
  fold, open: fold.open, path: fold.querySelector('summary').textContent.toLowerCase(),
  items: [...fold.querySelectorAll('li')].map(item => ({item, text: item.textContent.toLowerCase()})),
}));
let waiting;
search.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(show, 120); });
function show() {
  const wanted = search.value.trim().toLowerCase();
  let count = 0;
  for (const {fold, open, path, items} of folds) {
    const whole = path.includes(wanted);
    let own = 0;
    for (const {item, text} of items) {
      const fits = whole || text.includes(wanted);
      item.hidden = !fits;
      own += fits;
    }
    fold.hidden = own === 0;
    fold.open = wanted ? own > 0 : open;
    count += own;
  }
  found.textContent = wanted ? count + ' nodes' : '';
}
"""


def page(title: str, body: str) -> str:
    """A whole page; `title` and `body` are HTML."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
