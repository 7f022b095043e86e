// The clip that was chosen: the picture, the interval on its film band, and what is known of it.
// value: {url, name, seconds, start, end, film, notes: [text]}; only start and end are changed here.

const video = element.querySelector("video");
const band = element.querySelector(".band");
const from = element.querySelector(".from");
const until = element.querySelector(".until");
const span = element.querySelector(".span");
const title = element.querySelector(".name");
const notes = element.querySelector(".notes");
const LEAST = 0.1; // seconds; shorter holds no two frames

let seconds = 1;

const paint = () => {
  const a = Number(from.value), b = Number(until.value);
  band.style.setProperty("--from", `${(100 * a) / seconds}%`);
  band.style.setProperty("--until", `${(100 * b) / seconds}%`);
  span.textContent = `${a.toFixed(1)} to ${b.toFixed(1)} s`;
  from.setAttribute("aria-valuetext", `from ${a.toFixed(1)} seconds`);
  until.setAttribute("aria-valuetext", `to ${b.toFixed(1)} seconds`);
};

const moved = (which) => {
  const a = Number(from.value), b = Number(until.value);
  if (which === from && a > b - LEAST) from.value = Math.max(0, b - LEAST);
  if (which === until && b < a + LEAST) until.value = Math.min(seconds, a + LEAST);
  video.currentTime = Number(which.value);
  paint();
};

let pause = 0;

const settled = () => {
  clearTimeout(pause);
  pause = setTimeout(tell, 250); // a key held down settles once
};

const tell = () => {
  props.value = { ...props.value, start: Number(from.value), end: Number(until.value) };
  trigger("interval");
};

for (const handle of [from, until]) {
  handle.addEventListener("input", () => { video.pause(); moved(handle); });
  handle.addEventListener("change", () => { settled(); play(); });
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
  band.style.setProperty("--film", value.film ? `url("${value.film}")` : "none");
  notes.replaceChildren(...(value.notes || []).map((text) => make("li", {}, text)));
  paint();
  const url = address(value.url);
  if (video.dataset.url !== url) {
    video.dataset.url = url;
    video.src = url;
    play();
  }
};

watch("value", receive);
receive();
