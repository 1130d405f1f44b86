#!/usr/bin/env python3
"""Opens report.html in a browser: layout, colours, paper, and names that would like to be more than text.

usage: check-report.py [OLIVE] [FOLDER]
needs: pip install playwright pypdf; chromium in /usr/bin; OLIVE is the program, target/release/olive by default

The quickstart runs with an evaluator, under names with tags, quotes, marks of direction and escape sequences. Its page is opened 400, 800
and 1600 pixels wide, light and dark, as it comes and with everything unfolded: nothing is wider than the window, nothing is asked for,
nothing runs, every chart can be seen, all text stands out from its ground by 4.5 to 1 and all curves by 3 to 1 (WCAG 2, AA). On paper no
chart is cut and no table is wider than the page. Screenshots and the PDF go to FOLDER (a new one by default) for a person to look at. Prints
what was checked; exit code 1 if anything is wrong.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLIVE = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/olive")
WIDTHS = [400, 800, 1600]
SCHEMES = ["light", "dark"]
# What is left of A4 between margins of 12 mm, at 96 dots per inch.
PAPER = 703

HOSTILE = "<img src=x onerror=window.hostile=1>\"'&amp;\u202eolive\u202c<b>"
HOSTILE_DATA = "</style></title><script>window.hostile=1</script>\u2067data\x1b[31m"


def configuration(folder):
    config = json.loads((ROOT / "configs/quickstart/olive-config.json").read_text())
    (data,) = config["data_configs"]
    data["name"] = HOSTILE_DATA
    passes = config["passes"]
    lora = passes.pop("lora")
    lora["config"]["train_data_config"] = HOSTILE_DATA
    lora["config"]["training_args"] |= {"max_steps": 60, "eval_steps": 10}
    values = [{"name": "perplexity", "priority": 1, "goal": {"type": "threshold", "value": 1.5}}, {"name": "loss"}]
    held_out = data | {"name": "held out"}
    held_out["pre_process_data_config"] = {"params": data["pre_process_data_config"]["params"] | {"max_samples": 12}}
    held_out["load_dataset_config"] = {"params": data["load_dataset_config"]["params"] | {"split": "train[:12]"}}
    metrics = [
        {"name": "accuracy " + HOSTILE, "type": "accuracy", "data_config": "held out", "sub_types": values},
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "goal": {"type": "threshold", "value": 1e9}}]},
        {"name": "speed", "type": "throughput", "sub_types": [{"name": "decode_tokens_per_second"}]},
    ]
    config["data_configs"].append(held_out)
    config["evaluators"] = {"quality": {"metrics": metrics}}
    config["passes"] = {HOSTILE: lora | {"evaluator": "quality"}, **{name: step | {"evaluator": "quality"} for name, step in passes.items()}}
    config["engine"] |= {"evaluator": "quality", "cache_dir": str(folder / "cache"), "output_dir": str(folder / "output")}
    path = folder / "<script>window.hostile=1<!-- \u202e.json"
    path.write_text(json.dumps(config))
    return path


def report(folder):
    run = subprocess.run([OLIVE, "run", "--config", configuration(folder)], cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(run.stderr)
    return folder / "output/report.html"


# Everything that is looked at within a page. `ground` is the first colour behind an element that is one.
LOOK = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((a, b) => b - a); return (x + 0.05) / (y + 0.05) };
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 1] };
  const wrong = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) wrong.push(`the page is ${root.scrollWidth} wide in ${root.clientWidth}`);
  if (window.hostile !== undefined) wrong.push('a name was run');
  const tags = [...new Set([...document.querySelectorAll('script, img, iframe, object, embed, link, b, form')].map(e => e.tagName))];
  if (tags.length) wrong.push(`there are elements that nobody wrote: ${tags}`);
  const charts = [...document.querySelectorAll('svg')];
  if (charts.length < 4) wrong.push(`${charts.length} charts`);
  for (const chart of charts) {
    const box = chart.getBoundingClientRect();
    const lines = [...chart.querySelectorAll('polyline')].filter(line => line.getBoundingClientRect().width > 50);
    if (box.width < 250 || box.height < 120 || box.left < 0 || box.right > root.clientWidth + 1 || !lines.length)
      wrong.push(`a chart of ${box.width} by ${box.height} with ${lines.length} curves`);
    for (const curve of lines) {
      const stroke = getComputedStyle(curve).stroke, found = ratio(parse(stroke), ground(chart));
      if (parse(getComputedStyle(curve).strokeWidth)[0] > 1 && found < 3) wrong.push(`a curve ${stroke} by ${found.toFixed(2)}`);
    }
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), inChart = element.closest('svg');
    const found = ratio(parse(inChart ? style.fill : style.color), ground(element));
    if (found < 4.5) wrong.push(`"${node.data.trim().slice(0, 30)}" stands out by ${found.toFixed(2)}`);
    texts += 1;
  }
  return { wrong, texts, charts: charts.length } }"""

ON_PAPER = """width => [...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && e.getClientRects().length)
  .filter(e => e.getBoundingClientRect().right > width + 1).map(e => `${e.tagName} "${e.textContent.trim().slice(0, 30)}"`)"""


def looks(browser, address, folder):
    """What is wrong with the page on screens."""
    problems = []
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            asked = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: problems.append(f"console: {message.text}"))
            page.on("pageerror", lambda error: problems.append(f"error: {error}"))
            page.goto(address)
            for state in ["as it comes", "unfolded"]:
                found = page.evaluate(LOOK)
                problems += [f"{width} {scheme}, {state}: {wrong}" for wrong in found["wrong"]]
                page.screenshot(path=folder / f"{width}-{scheme}-{state.replace(' ', '-')}.png", full_page=True)
                page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
            problems += [f"{url} was asked for" for url in asked if url != page.url]
            print(f"looked at {width} {scheme}: {found['texts']} texts, {found['charts']} charts")
            page.close()
    return problems


def on_paper(browser, address, folder):
    """What is wrong with the page when it is printed."""
    import pypdf

    page = browser.new_page(viewport={"width": PAPER, "height": 1000}, color_scheme="dark")
    page.goto(address)
    page.emulate_media(media="print")
    problems = [f"on paper: {wide} is cut" for wide in page.evaluate(ON_PAPER, PAPER)]
    problems += [f"on paper: {wrong}" for wrong in page.evaluate(LOOK)["wrong"]]
    margin = dict.fromkeys(["top", "bottom", "left", "right"], "12mm")
    page.pdf(path=folder / "report.pdf", format="A4", print_background=True, margin=margin)
    captions = ["Loss", "Learning rate", "Gradient norm", "Tokens per second"]
    seen = 0
    for number, sheet in enumerate(pypdf.PdfReader(folder / "report.pdf").pages, 1):
        lines = [line.strip() for line in sheet.extract_text().splitlines()]
        titles, feet = sum(line in captions for line in lines), lines.count("step")
        seen += titles
        if titles != feet:
            problems.append(f"sheet {number} has {titles} titles of charts and {feet} axes below them")
    if seen != page.locator("figure").count():
        problems.append(f"{seen} charts on paper")
    print(f"looked at {number} sheets with {seen} charts")
    return problems


def main():
    from playwright.sync_api import sync_playwright

    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="report-"))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as playwright:
        address = report(pathlib.Path(work)).as_uri()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        problems = looks(browser, address, folder) + on_paper(browser, address, folder)
        browser.close()
    print(f"screenshots: {folder}")
    for problem in dict.fromkeys(problems):
        print(f"wrong: {problem}")
    sys.exit(bool(problems))


main()
