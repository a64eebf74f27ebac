"""The report, opened from a file as somebody does who got it by mail: every link leads somewhere, and nothing complains."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lib import paths

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")]
NARROW = {"width": 400, "height": 800}
LINKS = "() => [...document.querySelectorAll('a[href]')].map(each => each.href)"
IDS = "() => [...document.querySelectorAll('[id]')].map(each => each.id)"
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(params=["two notebooks", "make report"])
def site(request):
    """A site of the tests, and the one that `make report` left, if it did."""
    if request.param == "two notebooks":
        return request.getfixturevalue("built_site")
    request.getfixturevalue("browser")
    left = paths.site_dir("pocket")
    if not (left / "index.html").is_file():
        pytest.skip("make report has left no site to look at")
    return left


@pytest.fixture
def complaints(page):
    """What the browser complains of: errors, warnings of scripts, and what was asked of the network or not found."""
    found = []
    page.on("console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda asked: found.append(asked.url) if asked.url.startswith("http") else None)
    page.on("requestfailed", lambda asked: found.append(asked.url))
    return found


def crawled(page, site):
    """Every page that links lead to, from the index on: its ids, its links, and by how much it is too wide for a telephone."""
    page.set_viewport_size(NARROW)
    seen, waiting = {}, [site / "index.html", site / "search.html"]  # a form leads to the second
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        page.goto(file.as_uri())
        seen[file] = set(page.evaluate(IDS)), page.evaluate(LINKS), page.evaluate(TOO_WIDE)
        inside = [place for place, _ in local_links(seen[file][1])]
        waiting += [place for place in inside if place.suffix == ".html" and place.is_file()]
    return seen


def local_links(links):
    """The files and anchors that links lead to, of those that stay on this machine."""
    for link in links:
        parts = urlsplit(link)
        if parts.scheme == "file":
            yield Path(unquote(parts.path)), unquote(parts.fragment)
        else:
            assert parts.scheme in ("https", "mailto"), link


def test_every_page_opens_from_a_file_and_every_link_leads_somewhere(page, site, complaints):
    found = crawled(page, site)
    assert complaints == []
    assert {path.stem for path in found} >= {"index", "glossary", "mixer"} | {
        path.stem for path in (site / "notebooks").glob("*.html")
    }
    for file, (_, links, _) in found.items():
        for place, anchor in local_links(links):
            assert place.is_file(), f"{file.name} links to {place}"
            if anchor and place.suffix == ".html":
                assert anchor in found[place][0], f"{file.name} links to {place.name}#{anchor}"
    too_wide = {file.relative_to(site).as_posix(): width for file, (_, _, width) in found.items() if width > 0}
    assert too_wide == {}  # tables and code scroll by themselves


def test_the_mixer_of_the_site_answers_without_a_kernel(page, site, complaints):
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="the merge mixer").click()
    mixer = page.locator(".mixer").first
    line, point = mixer.locator(".mixer-rates"), mixer.locator(".mixer-point")
    before, place = line.inner_text(), point.get_attribute("cx")
    assert "ASR" in before and "off by" in mixer.inner_text()  # its error is stated
    for slider in mixer.locator("input[type=range]").all()[1:]:
        slider.focus()
        page.keyboard.press("Home")
    assert mixer.locator("td:nth-child(2)").all_inner_texts()[0] == "1.000"
    assert line.inner_text() != before and point.get_attribute("cx") != place
    mixer.locator("input[type=range]").first.focus()
    page.keyboard.press("Home")
    assert "at least one model" in line.inner_text()
    assert complaints == []


def test_controls_that_need_a_kernel_are_not_on_the_site(page, site):
    page.goto((site / "notebooks" / "06_merge_coefficient.html").as_uri())
    assert page.locator(".widget-slider, .widget-dropdown").count() == 0
    assert page.get_by_role("link", name="The mixer of this site").count() == 1


def test_the_search_finds_a_word_from_a_file(page, site, complaints):
    page.goto((site / "search.html").as_uri() + "?q=trigger")
    page.wait_for_selector("#search-results li a")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_follows_the_readers_system(page, site, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto((site / "index.html").as_uri())
    assert page.locator("html").get_attribute("data-theme") == scheme
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) / 3
    assert (brightness > 128) == (scheme == "light")
