"""MkDocs hook: the site has the repository's pages at the paths where they lie, so that their links hold in both.

It adds what pages link to (tables, figures, source files), a gallery of the reference results' figures, and the notebook, which
is executed. A page that would load a script, a style or a picture from elsewhere is an error: the site works offline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = Path("results/reference")
NOTEBOOK = Path("docs/results.ipynb")
SCALE = "laptop"
PAGES = ("*.md", "docs/*.md", "config/*.md", "results/*.md", "paper_figures/*.md", "benchmarks/**/*.md", f"{REFERENCE}/**/*.md")
LINK = re.compile(r"\[([^\]\[]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
LOADED = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?https?:|<link[^>]*\srel=[\"']?stylesheet[^>]*https?:")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the repository's pages, what they link to, the gallery and the notebook in the place of docs/."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    texts = {"docs/gallery.md": gallery(), **notebook_page(files, config)}
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    pages = sorted({path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)})
    linked = {target for page in pages for target in linked_files(page, (ROOT / page).read_text())}
    linked |= {target for uri, text in texts.items() for target in linked_files(Path(uri), text)}
    for path in sorted({*pages, *linked}):
        if files.get_file_from_path(path.as_posix()) is None:
            files.append(File.generated(config, path.as_posix(), abs_src_path=str(ROOT / path)))
    return files


def linked_files(page: Path, text: str) -> Iterator[Path]:
    """The files of the repository that a page links to, relative to its root."""
    for _, target, _ in LINK.findall(text):
        path = (ROOT / page.parent / target).resolve()
        if path.is_file() and path.is_relative_to(ROOT):
            yield path.relative_to(ROOT)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """A site has no folders to link to: such a link becomes its text."""
    here = ROOT / Path(page.file.src_uri).parent
    return LINK.sub(lambda link: link[1] if (here / link[2]).is_dir() else link[0], markdown)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that loads something from elsewhere."""
    found = LOADED.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: would load from elsewhere: {found[0]}")
    return output


def gallery() -> str:
    """The figures of the reference results in the paper's order, each with what is to be seen on it."""
    from dbbench.config import load_plan, load_suite
    from dbbench.publish.figures import get_figure
    from dbbench.publish.findings import in_order

    plan = load_plan(load_suite({"scale": SCALE}, ROOT / "config"), ROOT / "config")
    lines = ["# Figures", "", f"Every figure of the [reference results](../{REFERENCE}/README.md) at scale `{SCALE}`.", ""]
    for name in in_order(plan):
        drawn = [f for f in plan.experiments[name].figures if (ROOT / REFERENCE / SCALE / "figures" / f"{f}.csv").exists()]
        lines += [f"## {plan.experiments[name].title or name}", ""] if drawn else []
        for figure in drawn:
            about = get_figure(figure, name)
            stem = f"../{REFERENCE}/{SCALE}/figures/{figure}"
            picture = "svg" if (ROOT / REFERENCE / SCALE / "figures" / f"{figure}.svg").exists() else "png"
            lines += [f"### {about.title}", "", f"![{about.seen}]({stem}.{picture})".replace("\n", " "), "", about.caption, ""]
            lines += [f"[numbers]({stem}.csv), [PDF]({stem}.pdf)", ""]
    return "\n".join(lines)


def notebook_page(files: Files, config: MkDocsConfig) -> dict[str, str]:
    """The notebook as a page (path -> Markdown) with what its cells print; its pictures are added to `files`."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(ROOT / NOTEBOOK, as_version=4)
    NotebookClient(book, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    lines: list[str] = []
    for number, cell in enumerate(book.cells):
        lines += [cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```", ""]
        for output in cell.get("outputs", ()):
            lines += [_shown(output, f"results_{number}.png", files, config), ""]
    return {NOTEBOOK.with_suffix(".md").as_posix(): "\n".join(lines)}


def _shown(output: Any, picture: str, files: Files, config: MkDocsConfig) -> str:
    """One output of a cell as Markdown: a picture, a table, or text."""
    import base64

    data = output.get("data", {})
    if "image/png" in data:
        content = base64.b64decode(data["image/png"])
        files.append(File.generated(config, f"docs/{picture}", content=content))
        return f"![drawn by the cell above]({picture})"
    if "text/html" in data:
        return re.sub(r"<style.*?</style>\n?", "", str(data["text/html"]), flags=re.DOTALL)
    return f"```text\n{data.get('text/plain', output.get('text', ''))}\n```"
