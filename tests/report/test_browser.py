"""Reports in a real browser: opened from disk, offline, used by mouse and keyboard, printed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import creps
from creps.report.images import CaseImages
from creps.report.parts import OtherFiles, gather_case
from tests import components
from tests.report.made import write_case_files

pytestmark = [pytest.mark.slow, pytest.mark.process]

SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--no-sandbox")

NAME_OF = "e => e.dataset.slice || e.dataset.pane || e.dataset.canvas || e.id || e.textContent"
"""What tells an element of the page from the others."""


@pytest.fixture(scope="module")
def browser():
    components.need("chromium")
    import shutil

    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE_WEBGL)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    files = write_case_files(tmp_path_factory.mktemp("browser"))
    others = {key: files[key] for key in ("mr", "ct", "dose", "evaluation")}
    return creps.write_report(files["sct"], **others), files


class Opened:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, browser, page: Path, width: int = 1280, scheme: str = "light", **options) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, **options
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(page.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.context.close()

    def ready(self):
        self.page.wait_for_selector("body[data-viewer=ready]", state="attached", timeout=60_000)
        return self.page

    def voxel(self) -> list[int]:
        """Of the cross-hairs: along W, H, D from right, back and feet, as NiiVue counts."""
        return [int(n) for n in self.page.evaluate("document.body.dataset.voxel").split(",")]

    def value(self, name: str) -> str:
        return self.page.evaluate(
            "name => [...document.querySelectorAll('#readout div')].find(d => d.firstChild.textContent === name)"
            ".lastChild.textContent",
            name,
        )


def canvas(page, side: str) -> np.ndarray:
    import io

    shot = page.locator(f"[data-canvas={side}]").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def test_it_opens_from_disk_without_a_request_or_a_complaint(browser, case):
    with Opened(browser, case[0]) as opened:
        opened.ready()
        assert opened.requests == [case[0].as_uri()]
        assert opened.complaints == []


def test_values_at_the_cross_hairs_are_those_of_the_files(browser, case):
    page, files = case
    images = CaseImages(gather_case(files["sct"], OtherFiles(ct=files["ct"])))
    with Opened(browser, page) as opened:
        opened.ready()
        depth, height, width = images.sct.shape
        for slice_of, k in (("axial", depth // 3), ("coronal", height // 3), ("sagittal", width // 3)):
            opened.page.locator(f"[data-slice={slice_of}]").evaluate(
                "(input, k) => { input.value = k; input.dispatchEvent(new Event('input')); }", k
            )
        i, j, k = opened.voxel()
        assert (i, j, k) == (width // 3, height // 3, depth // 3)
        d, h, w = k, height - 1 - j, width - 1 - i  # NiiVue counts from the left and from the back: RAS, not LPS
        sct, ct = (float(images.named(key).volume.array[d, h, w]) for key in ("sct", "ct"))
        assert opened.value("sCT") == f"{round(sct)} HU"
        assert opened.value("CT") == f"{round(ct)} HU"
        assert opened.value("sCT − CT") == f"{round(sct) - round(ct)} HU"
        assert opened.value("uncertainty") in ("± 40 HU", "± 0 HU")


def test_a_wheel_scrolls_and_a_click_moves_both_views(browser, case):
    with Opened(browser, case[0]) as opened:
        page = opened.ready()
        start, right = opened.voxel(), canvas(page, "right")
        box = page.locator("[data-canvas=left]").bounding_box()
        page.locator("[data-canvas=left]").scroll_into_view_if_needed()
        box = page.locator("[data-canvas=left]").bounding_box()
        page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
        page.wait_for_timeout(300)
        clicked = opened.voxel()
        assert clicked != start
        assert np.abs(canvas(page, "right") - right).max() > 50  # linked: the other view shows other slices
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(300)
        assert opened.voxel() != clicked


def test_windows_images_and_overlays_change_what_is_drawn(browser, case):
    with Opened(browser, case[0]) as opened:
        page = opened.ready()
        soft = canvas(page, "right")
        page.get_by_role("button", name="bone").click()
        page.wait_for_timeout(200)
        bone = canvas(page, "right")
        assert page.get_by_role("button", name="bone").get_attribute("aria-pressed") == "true"
        assert bone.mean() < soft.mean() - 2  # soft tissue is darker in a bone window
        page.get_by_label("image on the right").select_option("difference")
        page.wait_for_timeout(200)
        difference = canvas(page, "right")
        assert np.abs(difference - bone).max() > 50
        page.get_by_label("image on the right").select_option("sct")
        page.locator("#overlay").select_option("uncertainty")
        page.wait_for_timeout(200)
        overlaid = canvas(page, "right")
        assert np.ptp(overlaid, axis=2).max() > np.ptp(bone[bone.max(axis=2) < 200], axis=1).max()  # coloured


def test_everything_is_reached_by_keyboard_and_labelled(browser, case):
    with Opened(browser, case[0]) as opened:
        page = opened.ready()
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(f"({NAME_OF})(document.activeElement)"))
        assert {"axial", "coronal", "sagittal", "left", "right", "overlay", "opacity", "soft tissue", "bone"} <= reached
        page.locator("[data-slice=axial]").focus()
        before = opened.voxel()
        page.keyboard.press("ArrowRight")
        assert opened.voxel()[2] == before[2] + 1
        assert page.locator("img:not([alt])").count() == 0
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input,select,button')].filter(e => !e.labels?.length && !e.ariaLabel"
            " && !e.textContent.trim()).length"
        )
        assert unnamed == 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_it_fits_narrow_screens_and_follows_the_colour_scheme(browser, case, width, scheme):
    with Opened(browser, case[0], width, scheme) as opened:
        page = opened.ready()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_it_prints_without_the_viewer(browser, case, tmp_path):
    with Opened(browser, case[0]) as opened:
        page = opened.ready()
        page.emulate_media(media="print")
        assert not page.locator(".viewer").is_visible()
        assert page.locator(".planes img").first.is_visible()
        page.pdf(path=tmp_path / "report.pdf", format="A4")
        assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"


def test_without_webgl_the_page_says_so_and_the_rest_is_there(browser, case):
    with Opened(browser, case[0]) as opened:
        opened.context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        opened.page.reload()
        told = opened.page.locator("#viewer-failed")
        told.wait_for(state="visible", timeout=30_000)
        assert "WebGL 2" in told.inner_text()
        assert opened.page.locator(".planes img").first.is_visible()


def test_without_scripts_everything_but_the_viewer_is_there(browser, case):
    with Opened(browser, case[0], java_script_enabled=False) as opened:
        told = opened.page.locator("noscript p")
        assert "The viewer needs JavaScript" in told.text_content()
        assert told.bounding_box()["height"] > 0
        assert opened.page.locator(".planes img").first.is_visible()


def test_hostile_texts_run_nothing(browser, case):
    with Opened(browser, case[0]) as opened:
        alerts = []
        opened.page.on("dialog", lambda dialog: alerts.append(dialog.message))
        opened.ready()
        assert alerts == []
        assert opened.page.locator("img[src=x]").count() == 0
        assert opened.page.get_by_text("<script>alert(1)</script>").count() >= 1


def test_a_normal_case_is_smaller_than_ten_megabytes(tmp_path):
    """Four volumes of 256³ voxels with noise, as they are averaged for the page."""
    rng = np.random.default_rng(0)
    from creps.report.parts import CaseParts
    from creps.report.views import write_case
    from creps.volume import Volume

    shape = (160, 192, 160)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    inside = z**2 + y**2 + x**2 < 0.95
    noisy = lambda low, high, sigma: Volume(np.where(inside, high, low) + rng.normal(0, sigma, shape))  # noqa: E731
    parts = CaseParts(
        sct=noisy(-1000, 40, 5), mr=noisy(0, 800, 40), ct=noisy(-1000, 40, 20), uncertainty=noisy(0, 60, 10)
    )
    write_case(parts, tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 10_000_000
