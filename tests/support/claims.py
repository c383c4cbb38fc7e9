"""What is claimed of every page, whatever it shows."""

# Texts of users and models that would run, or look like more than text, where a page lets them.
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b><a href=x>&lt;"


def opens_without_a_fault_and_asks_for_nothing(browser, path):
    browser.open(path)
    assert browser.faults() == []
    assert browser.requests() == [path.as_uri()]


def shows_hostile_texts_and_runs_none(browser, path, *, title):
    """That the title is the page's own says too that nothing has changed it."""
    browser.open(path)
    assert browser.faults() == []
    assert browser.value("document.title") == title
    assert browser.value("document.querySelectorAll('img, b, main a, svg a').length") == 0


def never_scrolls_sideways(shown, plot):
    boxes = "Array.from(document.querySelectorAll('.box'), (box) => box.clientWidth)"
    for width in (390, 320, 800):
        shown.resize(width, phone=True)
        assert shown.value("document.documentElement.scrollWidth") == width
        assert max(shown.value(boxes)) < width  # of a table, which scrolls inside of its own
        shown.wait(f"document.querySelector('#{plot} svg').clientWidth < {width}")
    shown.resize(1400)


def follows_the_dark(shown, plot):
    title = f"document.querySelector('#{plot} .xtitle').style.fill"
    light = shown.value(title)
    shown.darken(True)
    shown.wait(f"document.documentElement.dataset.drawn && {title} !== {light!r}")
    assert shown.value("getComputedStyle(document.body).backgroundColor") == "rgb(19, 23, 26)"
    shown.darken(False)
    shown.wait(f"document.documentElement.dataset.drawn && {title} === {light!r}")
    assert shown.faults() == []
