"""What input does a scenario run on when the user brings no video of his own?

    python scripts/make_clip.py [OUT]

writes the shipped clip (default src/streamtwin/scenarios/clip.mp4): 161 frames of 832 x 480 pixels
at 16 frames per second, a camera above photographs that lie on a lawn. Sections of 40 frames are
slow and fast in turn, so that whatever reacts to motion has something to react to:

    frames   1 -  40  slow   drift and zoom over the coffee cup
    frames  41 -  80  fast   pan to the cat with a shaking hand
    frames  81 - 120  slow   drift and zoom over the cat
    frames 121 - 160  fast   pan to the rocket, rotating, while a ball flies by

The camera never jumps. Rendering has no randomness, and encoding uses a fixed number of threads:
the same versions of the libraries write the same bytes.

The pictures come with scikit-image. Their licences and authors, as the documentation of
`skimage.data` states them:

    coffee.png   CC0, Rachel Michetti (courtesy of Pikolo Espresso Bar)
    chelsea.png  CC0, Stefan van der Walt
    rocket.jpg   public domain, SpaceX (launch of DSCOVR on Falcon 9)
    grass.png    CC0, linolafett (deviantart.com, "Grass 01"); cropped, grey
    gravel.png   CC0, cc0textures.com (Gravel04); scaled, cropped, grey
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from streamtwin.runtime.spool import write_video

HEIGHT, WIDTH, FPS = 480, 832, 16.0
SECTION = 40
NUM_FRAMES = 1 + 4 * SECTION
WORLD = (4100, 1500)
"""Width and height of the lawn, in pixels of the clip at a zoom of 1."""

OUT = Path(__file__).parents[1] / "src" / "streamtwin" / "scenarios" / "clip.mp4"
SHUTTER = (0.0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.48)
"""Moments of a frame that a moving camera sees: a half-open shutter, as film cameras have."""

ENCODER = {"crf": "32.5", "preset": "slow", "threads": "2", "bf": "0", "g": "80"}
"""The quality that fits 400 kB, with a seek point every five seconds. With B-frames some builds of
x264 choose by what happens to stand in fresh memory, and two runs write different bytes."""


@dataclass(frozen=True)
class View:
    """Where the camera stands: world pixels of its centre, world pixels per pixel, radians."""

    x: float
    y: float
    scale: float
    angle: float


def picture(name: str, size: tuple[int, int]) -> Image.Image:
    """Load a picture of scikit-image, cut and scaled to *size* (width, height)."""
    path = Path(skimage.__file__).parent / "data" / name
    return ImageOps.fit(Image.open(path).convert("RGB"), size, Image.Resampling.LANCZOS)


def lawn() -> Image.Image:
    """Tile the grass, mirrored so that no seam shows, and tint it green."""
    tile = ImageOps.autocontrast(picture("grass.png", (1024, 1024)).convert("L"), cutoff=1)
    row = np.asarray(tile.filter(ImageFilter.GaussianBlur(1.6)))
    block = np.block([[row, row[:, ::-1]], [row[::-1], row[::-1, ::-1]]])
    tiled = np.tile(block, (1, 3))[: WORLD[1], : WORLD[0]]
    return ImageOps.colorize(Image.fromarray(tiled), (16, 34, 14), (150, 178, 92), (62, 98, 40))


def lay(world: Image.Image, photo: Image.Image, centre: tuple[int, int], degrees: float) -> None:
    """Put *photo* on the *world* as a print with a white border and a soft shadow."""
    print_ = ImageOps.expand(photo, 26, (238, 235, 228)).convert("RGBA")
    print_ = print_.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    corner = (centre[0] - print_.width // 2, centre[1] - print_.height // 2)
    shade = Image.new("L", world.size)
    shade.paste(170, (corner[0] + 10, corner[1] + 14), print_.getchannel("A"))
    world.paste((6, 12, 6), mask=shade.filter(ImageFilter.BoxBlur(14)))
    world.paste(print_, corner, print_)


def build_world() -> Image.Image:
    """Paint everything that does not move."""
    world = lawn()
    lay(world, picture("coffee.png", (1200, 800)), (740, 740), 3.0)
    lay(world, picture("chelsea.png", (1140, 760)), (2060, 760), -4.0)
    lay(world, picture("rocket.jpg", (1200, 800)), (3360, 740), 2.0)
    return world


def build_ball(radius: int = 74) -> Image.Image:
    """Paint a stone ball, lit from the upper left; twice its size, to be turned and scaled."""
    size = 4 * radius
    stone = picture("gravel.png", (size, size)).convert("L").filter(ImageFilter.GaussianBlur(1))
    ball = ImageOps.colorize(stone, (120, 34, 8), (255, 236, 180), (240, 120, 30))
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).ellipse((2, 2, size - 3, size - 3), fill=255)
    ball.putalpha(mask)
    return ball


def build_light(size: int) -> Image.Image:
    """Paint the shading of a ball, black with the darkness as its alpha."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    z = np.sqrt(np.clip(1 - x * x - y * y, 0, 1))
    light = np.clip(-0.45 * x - 0.5 * y + 0.74 * z, 0, 1)
    dark = (215 * (1 - light) * (x * x + y * y < 1)).astype(np.uint8)
    shading = Image.new("RGBA", (size, size))
    shading.putalpha(Image.fromarray(dark))
    return shading


def ramp(time: float, start: int, edge: float = 1.5) -> float:
    """Rise from 0 to 1 over one section: constant speed but for *edge* frames at either end."""
    u = min(max(time - start, 0.0), float(SECTION))
    ends = min(u, edge) ** 2 / (2 * edge) + max(0.0, min(u, SECTION - edge) - edge)
    last = max(0.0, u - SECTION + edge)
    return (ends + last - last * last / (2 * edge)) / (SECTION - edge)


def swing(time: float, start: int, periods: float) -> float:
    """Oscillate within one section, at rest outside of it and at both its ends."""
    u = min(max((time - start) / SECTION, 0.0), 1.0)
    envelope = min(1.0, 8 * u, 8 * (1 - u))
    return float(envelope * np.sin(2 * np.pi * periods * u))


def camera(time: float) -> View:
    """Stand where the camera is at *time* (in frames, need not be whole)."""
    pan, leap = ramp(time, SECTION), ramp(time, 3 * SECTION)
    slow = time / SECTION  # the drift goes on underneath the fast sections
    x = 690 + 14 * slow + 1290 * pan + 1300 * leap
    y = 700 + 9 * slow + 62 * leap
    x += 26 * swing(time, SECTION, 11) + 60 * swing(time, 3 * SECTION, 3)
    y += 34 * swing(time, SECTION, 8) + 120 * swing(time, 3 * SECTION, 2)
    scale = 1.28 - 0.03 * slow + 0.12 * swing(time, 3 * SECTION, 1)
    angle = 0.03 * slow + 0.05 * swing(time, SECTION, 5) + 0.42 * swing(time, 3 * SECTION, 2)
    return View(x, y, scale, angle)


def ball_place(time: float) -> tuple[float, float, float]:
    """Throw the ball: pixels of its centre in the frame, and degrees it has turned."""
    u = (time - 3 * SECTION) / SECTION
    across = 1 - 2 * abs(2 * u - 1)  # to the right, and back
    return (
        WIDTH / 2 + across * (WIDTH / 2 + 110),
        400 - 300 * abs(np.sin(3.5 * np.pi * u)),
        -900 * u,
    )


class Scene:
    """The painted world and ball; renders the clip frame by frame."""

    def __init__(self) -> None:
        self._world = build_world()
        self._ball = build_ball()
        self._light = build_light(self._ball.width // 2)

    def render(self, index: int) -> NDArray[np.uint8]:
        """Expose frame *index*: uint8 [480, 832, 3]."""
        fast = (index - 1) // SECTION % 2 == 1
        moments = [index + part for part in SHUTTER] if fast else [float(index)]
        views = [np.asarray(self._look(moment), np.uint16) for moment in moments]
        return (sum(views[1:], views[0]) // len(views)).astype(np.uint8)

    def _look(self, time: float) -> Image.Image:
        view = camera(time)
        cos, sin = view.scale * np.cos(view.angle), view.scale * np.sin(view.angle)
        left = view.x - cos * WIDTH / 2 + sin * HEIGHT / 2
        top = view.y - sin * WIDTH / 2 - cos * HEIGHT / 2
        matrix = (cos, -sin, left, sin, cos, top)
        seen = self._world.transform(
            (WIDTH, HEIGHT), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        if time > 3 * SECTION:
            self._throw(seen, time)
        return seen

    def _throw(self, seen: Image.Image, time: float) -> None:
        x, y, degrees = ball_place(time)
        ball = self._ball.rotate(degrees, Image.Resampling.BILINEAR).resize(self._light.size)
        corner = (round(x) - ball.width // 2, round(y) - ball.height // 2)
        seen.paste(ball, corner, ball)
        seen.paste(self._light, corner, self._light)


def render_frames() -> Iterator[NDArray[np.uint8]]:
    """Render the whole clip, a frame at a time."""
    scene = Scene()
    return (scene.render(index) for index in range(NUM_FRAMES))


def main(arguments: list[str]) -> int:
    """Write the clip to the path in *arguments*, or to where it is shipped."""
    out = Path(arguments[0]) if arguments else OUT
    count = write_video(render_frames(), FPS, out, ENCODER)
    print(f"{out}: {count} frames, {out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
