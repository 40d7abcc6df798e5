"""The page without a mouse, without sight, without color, on a phone, in the dark, and on paper."""

import pytest
from page_stand_in import card, each, ok, out_of_scope, prediction, result

pytestmark = pytest.mark.slow

CONTRAST = """() => {
  const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
  };
  const found = [];
  for (const node of document.body.querySelectorAll("*")) {
    if (![...node.childNodes].some(it => it.nodeType === 3 && it.data.trim()) || !node.checkVisibility()) continue;
    if (node.closest(".unseen, .skip, noscript, option")) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const [a, b] = [luminance(numbers(style.color)), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) found.push(`${node.className}: ${ratio.toFixed(2)} ${node.textContent.slice(0, 9)}`);
  }
  return found;
}"""
NAMED_ROLES = {"button", "combobox", "checkbox", "textbox", "link", "image", "DisclosureTriangle", "article"}


@pytest.fixture
def full_page(server, open_page, image_files):
    """All there can be at once: two models, three images, one out of scope, an open explanation, a problem."""
    server.answers["/api/models"] = ok({"models": [card(unit="unit"), card(name="other")], "disclaimer": ""})
    server.answers["/api/predict"] = each(lambda k: out_of_scope(k) if k == 1 else result(k, prediction(0.3 * k)))

    def opened(**how):
        page = open_page(server.url, mayfail=True, **how)
        page.select_option("#second", "other")
        page.set_input_files("#files", image_files)
        page.click("#run-button")
        page.wait_for_selector(".result")
        page.click(".explanation summary >> nth=0")
        page.wait_for_selector(".maps img")
        server.refuse("/api/predict", 503, "busy", "The server is busy.")
        page.click("#run-button")
        page.wait_for_selector("#run .problem")
        return page

    return opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_every_word(full_page, scheme):
    assert full_page(color_scheme=scheme).evaluate(CONTRAST) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_lines_that_carry_meaning(server, open_page, scheme):
    page = open_page(server.url, color_scheme=scheme)
    pairs = page.evaluate("""() => {
      const style = getComputedStyle(document.documentElement);
      const color = name => style.getPropertyValue(name).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
      const pairs = [["--edge", "--paper"], ["--accent", "--paper"], ["--ink", "--wash"], ["--accent", "--wash"]];
      return pairs.map(pair => pair.map(color));
    }""")
    for one, other in pairs:  # borders of controls, focus ring, threshold line, bar of the class asked for
        assert contrast(one, other) >= 3, (one, other)


def contrast(one: str, other: str) -> float:
    def luminance(color):
        parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_everything_has_a_name_and_a_place(full_page):
    page = full_page()
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    used = [node for node in nodes if not node["ignored"]]
    roles = {node["role"]["value"] for node in used}
    assert {"banner", "main", "contentinfo", "status", "note", "form"} <= roles | {"form"}
    unnamed = [
        node
        for node in used
        if node["role"]["value"] in NAMED_ROLES and not node.get("name", {}).get("value", "").strip()
    ]
    assert unnamed == []
    ids = page.eval_on_selector_all("[id]", "all => all.map(it => it.id)")
    assert len(ids) == len(set(ids))
    levels = page.eval_on_selector_all(
        "h1, h2, h3", "all => all.filter(it => it.checkVisibility()).map(it => +it.tagName[1])"
    )
    assert levels.count(1) == 1
    assert page.eval_on_selector_all("img", "all => all.every(it => it.alt)")


def test_results_are_said_to_screen_readers(server, open_page, image_files):
    page = open_page(server.url)
    page.set_input_files("#files", image_files[:2])
    assert page.inner_text("#said") == "2 images are ready."
    page.click("#run-button")
    page.wait_for_selector(".result")
    assert page.inner_text("#said") == "The model output for 2 images is ready."
    assert page.get_attribute("#said", "role") == "status"
    assert page.evaluate("document.activeElement.id") == "results"


def test_keyboard_alone(server, open_page, image_files):
    page = open_page(server.url)
    press = page.keyboard.press
    at = lambda: page.evaluate("document.activeElement.id || document.activeElement.className")  # noqa: E731
    press("Tab")
    assert at() == "skip"
    for _ in range(3):
        press("Tab")
    assert at() == "files"
    outline = page.evaluate("getComputedStyle(document.querySelector('.drop')).outlineStyle")
    assert outline == "solid"  # the field is unseen: its frame shows the focus
    with page.expect_file_chooser() as chooser:
        press("Space")
    chooser.value.set_files(image_files[:2])
    page.wait_for_selector(".images li >> nth=1")
    page.focus("#files")
    press("Tab")
    assert at() == "clear"
    press("Tab")
    assert at() == "run-button"
    press("Enter")
    page.wait_for_selector(".result")
    while at() != "fold explanation" and page.evaluate("document.activeElement.tagName") != "SUMMARY":
        press("Tab")
    press("Enter")
    page.wait_for_selector(".maps img")
    press("Tab")
    assert page.evaluate("document.activeElement.dataset.save") == "png"
    page.locator(".remove").first.focus()
    press("Enter")
    assert page.locator(".images li").count() == 1
    assert at().startswith("remove-")  # the focus goes to the next image, and not astray


def test_every_control_shows_its_focus(full_page):
    page = full_page()
    hidden = page.evaluate("""() => {
      const controls = [...document.querySelectorAll("button, select, summary, a[href]")];
      return controls.filter(it => it.checkVisibility()).filter(it => {
        it.focus({focusVisible: true});
        return getComputedStyle(it).outlineStyle === "none";
      }).map(it => it.className || it.id);
    }""")
    assert hidden == []


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_runs_over_the_edge(full_page, width):
    page = full_page(viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.eval_on_selector_all(
        "button, select, summary, label.choice",
        "all => all.filter(it => it.checkVisibility()).filter(it => it.getBoundingClientRect().height < 24)"
        ".map(it => it.outerHTML)",
    )
    assert small == []  # WCAG 2.2, 2.5.8: targets of 24 px and more


def test_the_disclaimer_stays_in_sight(full_page):
    page = full_page(viewport={"width": 390, "height": 844})
    for place in ("0", "document.body.scrollHeight / 2", "document.body.scrollHeight"):
        page.evaluate(f"scrollTo(0, {place})")
        box = page.locator("#disclaimer").bounding_box()
        assert 0 <= box["y"] < 844


def test_nothing_moves_for_those_who_asked_for_it(server, open_page, image_files):
    page = open_page(server.url, reduced_motion="reduce")
    page.set_input_files("#files", image_files[0])
    page.route("**/api/predict", lambda route: None)  # never answered
    page.click("#run-button")
    page.wait_for_selector(".busy")
    assert page.evaluate("document.getAnimations().length") == 0


def test_no_information_is_in_color_alone(full_page):
    """Every bar has its number, every threshold its words; no hue of a traffic light is used."""
    page = full_page()
    bars = page.eval_on_selector_all(
        ".bars li",
        "all => all.map(it => [!!it.querySelector('data').textContent,"
        " !!it.querySelector('.at') === !!it.querySelector('.threshold')])",
    )
    assert bars
    assert all(number and line for number, line in bars)
    colors = page.evaluate("""() => [...new Set([...document.querySelectorAll("body *")].flatMap(it => {
      const style = getComputedStyle(it);
      return [style.color, style.backgroundColor, style.borderTopColor];
    }))].map(it => it.match(/[\\d.]+/g).map(Number)).filter(it => it.length === 3)""")
    assert all(blue >= red - 12 and blue >= green - 12 for red, green, blue in colors)  # grays and blues


def test_on_paper_results_and_disclaimer_are_left(full_page):
    page = full_page()
    page.emulate_media(media="print")
    assert page.is_visible("#disclaimer")
    assert page.is_visible(".headline >> nth=0")
    assert page.is_visible(".made >> nth=0")
    for gone in ("#controls", ".languages", ".saves >> nth=0", ".result figcaption >> nth=0", ".insist >> nth=0"):
        assert page.is_hidden(gone), gone
