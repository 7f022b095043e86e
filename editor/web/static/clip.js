// The clip that was chosen: the picture, the interval on its film band, and what is known of it.
// value: {url, name, seconds, start, end, film, notes: [text], region, region_at}; here are changed start, end, and where
// the edit may act: `region`, a PNG in base64 ("": anywhere), painted on the picture at `region_at` seconds.

const video = element.querySelector("video");
const band = element.querySelector(".band");
const from = element.querySelector(".from");
const until = element.querySelector(".until");
const span = element.querySelector(".span");
const title = element.querySelector(".name");
const notes = element.querySelector(".notes");
const LEAST = 0.1; // seconds; shorter holds no two frames

let seconds = 1;
let lastRegion = ""; // as the server knows it

const show = () => {
  const a = Number(from.value), b = Number(until.value);
  band.style.setProperty("--from", `${(100 * a) / seconds}%`);
  band.style.setProperty("--until", `${(100 * b) / seconds}%`);
  const [start, end] = [number(a, 1), number(b, 1)];
  span.textContent = _("{start} to {end} s", { start, end });
  from.setAttribute("aria-valuetext", _("from {start} seconds", { start }));
  until.setAttribute("aria-valuetext", _("to {end} seconds", { end }));
};

const moved = (which) => {
  const a = Number(from.value), b = Number(until.value);
  if (which === from && a > b - LEAST) from.value = Math.max(0, b - LEAST);
  if (which === until && b < a + LEAST) until.value = Math.min(seconds, a + LEAST);
  video.currentTime = Number(which.value);
  show();
};

let pause = 0;

const settled = () => {
  clearTimeout(pause);
  pause = setTimeout(tell, 250); // a key held down settles once
};

const tell = () => {
  const where = { region: mask.picture(), region_at: paintedAt };
  // without the film, which is long and which the server knows
  props.value = { ...props.value, film: "", start: Number(from.value), end: Number(until.value), ...where };
  trigger("interval");
};

// Where the edit may act: painted on the frame at which the picture stands.
let paintedAt = 0; // seconds
let painting = false;
const picture = element.querySelector(".picture");
const paint = element.querySelector(".paint");
const where = element.querySelector(".where");
const mask = brush(video, () => { told(); settled(); });

const told = () => {
  const painted = mask.picture() !== "";
  where.hidden = !painted;
  const at = { at: number(paintedAt, 1) };
  where.textContent = painted ? _("Only where you painted at {at} s; carried along the clip's motion.", at) : "";
  paint.textContent = painting ? _("Done painting") : painted ? _("Paint further") : _("Paint where it may act");
  paint.setAttribute("aria-pressed", String(painting));
};

paint.addEventListener("click", () => {
  painting = !painting;
  if (painting) {
    video.pause();
    if (mask.picture() === "") paintedAt = video.currentTime; else video.currentTime = paintedAt;
    picture.append(mask.canvas);
    paint.after(mask.tools);
    mask.place();
    mask.canvas.focus();
  } else {
    mask.canvas.remove();
    mask.tools.remove();
    play();
  }
  told();
});

for (const handle of [from, until]) {
  handle.addEventListener("input", () => { video.pause(); moved(handle); });
  handle.addEventListener("change", () => { settled(); if (!painting) play(); });
}

const play = () => {
  video.currentTime = Number(from.value);
  if (!calm()) video.play().catch(() => {});
};

// The picture loops over the chosen part only.
video.addEventListener("timeupdate", () => {
  if (!video.paused && video.currentTime > Number(until.value)) video.currentTime = Number(from.value);
});
video.addEventListener("ended", play);

element.querySelector(".change").addEventListener("click", () => trigger("replace"));

const receive = () => {
  const value = props.value;
  if (!value || !value.url) {
    video.pause();
    return;
  }
  seconds = value.seconds;
  for (const handle of [from, until]) handle.max = seconds;
  from.value = value.start;
  until.value = value.end;
  title.textContent = value.name;
  notes.replaceChildren(...(value.notes || []).map((text) => make("li", {}, text)));
  show();
  const url = address(value.url);
  if (value.film || video.dataset.url !== url) band.style.setProperty("--film", value.film ? `url("${value.film}")` : "none");
  if (video.dataset.url !== url || (value.region || "") !== (lastRegion || "")) {
    paintedAt = value.region_at || 0;
    if (value.region !== mask.picture()) mask.load(value.region);
    lastRegion = value.region;
  }
  told();
  if (video.dataset.url !== url) {
    if (painting) paint.click();
    video.dataset.url = url;
    video.src = url;
    play();
  }
};

watch("value", receive);
receive();
