"""The whole app with the built-in model: an example, edited by hand, gives the right video."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from editor.diffusion.catalog import present
from editor.jobs.service import ENGINE
from tests.browser.conftest import Visitor
from tests.web.serving import serving


@pytest.mark.skipif(not present("demo"), reason="the built-in model is not in assets/demo_model")
def test_a_red_car_becomes_blue(chromium, tmp_path):
    from editor.web.examples import FOLDER

    with serving(tmp_path, engine=ENGINE, shelf=FOLDER) as served:
        visitor = Visitor(chromium, served.url)
        page = visitor.open()
        index = next(i for i, e in enumerate(served.app.desk.examples) if e.targets[0].startswith("a blue car"))
        page.set_default_timeout(600_000)  # loading torch and the model on a busy machine takes minutes
        visitor.find(f"example-{index}").click()
        visitor.see("estimate")
        page.locator("#preset label").nth(0).click()
        visitor.run()
        visitor.see("preview")
        visitor.picture("14-built-in-running")
        visitor.finished()
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(500)
        visitor.picture("15-built-in-done", full=False)  # the picture in the README is one of these
        view = httpx.get(f"{served.url}/job/{page.url.split('job=')[1]}/view.json").json()
        poster = Image.open(io.BytesIO(httpx.get(f"{served.url}/{view['results'][0]['poster']}").content))
        assert bluer(np.asarray(poster.convert("RGB"))) > bluer(np.asarray(original(served, index)))
        assert visitor.errors == []
        visitor.context.close()


def original(served, index):
    return Image.open(io.BytesIO(served.app.desk.examples[index].poster())).convert("RGB")


def bluer(picture):
    """Share of strongly blue pixels less the share of strongly red ones; the sky is pale and counts little."""
    red, green, blue = (picture[..., i].astype(int) for i in range(3))
    return np.mean((blue > red + 60) & (blue > green + 40)) - np.mean((red > blue + 60) & (red > green + 60))
