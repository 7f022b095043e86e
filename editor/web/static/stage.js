// The stage: what a job is doing, its preview, and its result. It asks the server for the job's state by itself,
// so a reload, a sleeping laptop or a server restart only makes it ask again.

const screen = element.querySelector(".screen");
const rail = element.querySelector(".rail");
const below = element.querySelector(".below");
const live = element.querySelector(".live");
const player = comparePlayer();

let job = null;      // {id, mine}
let view = null;
let chosen = 0;      // which result
let way = "compare"; // how it is looked at
let timer = 0;
let failures = 0;
let drawn = "";
let said = "";

const emptyNode = screen.querySelector(".empty");
const preview = make("img", { class: "preview", alt: "Original and edit so far, side by side", "data-testid": "preview" });
const plain = make("video", {
  class: "plain", loop: true, playsinline: true, controls: true, preload: "metadata", "aria-label": "Side by side",
});
plain.muted = true;
const frames = make("img", { class: "frames", alt: "Frames of the original above frames of the edit" });
const waiting = make("div", { class: "waiting" }, make("span", { class: "pulse", "aria-hidden": "true" }));
const backdrop = make("video", { class: "backdrop", playsinline: true, loop: true, preload: "auto", "aria-hidden": "true" });
backdrop.muted = true;

const line = make("p", { class: "status", "data-testid": "status" });
const left = make("p", { class: "left", "data-testid": "left" });
const bar = make("div", {
  class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100,
}, make("span"));
const stop = button("Stop", () => {
  stop.disabled = true;
  line.textContent = "Stopping after this step";
  trigger("stop", { job: job.id });
}, { class: "plain-button", "data-testid": "stop" });
const progress = make("div", { class: "progress" }, make("div", { class: "words" }, line, left), bar, stop);

const only = (parent, ...nodes) => {
  const same = parent.childNodes.length === nodes.length && nodes.every((node, i) => parent.childNodes[i] === node);
  if (!same) parent.replaceChildren(...nodes);
};

const say = (text) => {
  if (text !== said) { said = text; live.textContent = text; }
};

const drawPreview = () => {
  if (!view.preview) {
    if (view.clip && backdrop.dataset.url !== view.clip) {
      backdrop.dataset.url = view.clip;
      backdrop.src = address(view.clip);
      if (!calm()) backdrop.play().catch(() => {});
    }
    only(screen, ...(view.clip ? [backdrop, waiting] : [waiting]));
    return;
  }
  const url = address(view.preview);
  if (preview.dataset.url === url) { only(screen, preview); return; }
  preview.dataset.url = url;
  const next = new Image();
  next.src = url;
  next.decode().then(() => {
    if (preview.dataset.url !== url) return; // a newer one is on its way
    preview.src = url;
    if (view && !view.final) only(screen, preview);
  }).catch(() => {});
};

const drawRunning = () => {
  drawPreview();
  line.textContent = view.line;
  left.textContent = view.left ? `about ${view.left} left` : "";
  const percent = Math.round(view.fraction * 100);
  bar.firstChild.style.inlineSize = `${percent}%`;
  bar.setAttribute("aria-valuenow", percent);
  bar.classList.toggle("idle", view.state === "queued");
  stop.hidden = !job.mine;
  stop.disabled = view.stopping;
  only(rail, progress);
  say(`${view.title}. ${view.line.split(",")[0]}`);
};

const notice = (title, text) => make(
  "div", { class: "notice", role: "status", "data-testid": "notice" }, make("h3", {}, title), make("p", {}, text ?? ""),
);

const ways = () => {
  const names = { compare: "Compare", plain: "Side by side", frames: "Frames" };
  if (view.results.length > 1) names.all = "All results";
  return make("div", { class: "ways", role: "group", "aria-label": "View" }, ...Object.entries(names).map(
    ([name, text]) => button(text, () => { way = name; drawDone(); }, { "aria-pressed": String(way === name) }),
  ));
};

const allResults = () => make("div", { class: "all" }, ...view.results.map((result, n) => {
  const node = make("video", { src: address(result.edited), loop: true, playsinline: true, "aria-label": result.target });
  node.muted = true;
  if (!calm()) node.play().catch(() => {});
  return make("figure", {}, node, make("figcaption", { marked: view.targets[n]?.marked ?? "" }));
}));

const drawDone = () => {
  const result = view.results[chosen];
  if (way !== "compare") player.pause();
  if (way !== "plain") plain.pause();
  if (way === "compare") {
    only(screen, player.box);
    player.load(address(view.clip), address(result.edited), view.start);
  } else if (way === "plain") {
    if (plain.dataset.url !== result.side_by_side) {
      plain.dataset.url = result.side_by_side;
      plain.src = address(result.side_by_side);
    }
    only(screen, plain);
    if (!calm()) plain.play().catch(() => {});
  } else if (way === "frames") {
    frames.src = address(result.strip);
    only(screen, frames);
  } else only(screen, allResults());
  const bars = way === "compare" ? [player.controls] : [make("div", { class: "controls" })];
  only(rail, ...bars, ways());
  drawBelow();
};

const draw = () => {
  element.querySelector(".stage").dataset.state = view ? view.state : "empty";
  if (!view) {
    only(screen, emptyNode);
    rail.replaceChildren();
    below.replaceChildren();
    return;
  }
  if (view.state === "queued" || view.state === "running") {
    const key = `${view.id} ${view.state}`;
    drawRunning();
    if (drawn !== key) drawBelow();
    drawn = key;
    return;
  }
  const key = `${view.id} ${view.state} ${chosen} ${way}`;
  if (drawn === key) return;
  drawn = key;
  say(view.title);
  if (view.state === "done") { drawDone(); return; }
  player.pause();
  const poster = view.state === "unknown" || !view.preview ? [] : [preview];
  if (poster.length) preview.classList.add("faded");
  only(screen, ...poster, notice(view.title, view.state === "cancelled" ? "You can change the words and run it again." : view.error));
  rail.replaceChildren();
  if (view.state === "unknown") below.replaceChildren(); else drawBelow();
};

const ask = async (id) => {
  try {
    const answer = await fetch(address(`job/${id}/view.json`), { cache: "no-store" });
    if (answer.status >= 500) throw new Error(String(answer.status));
    if (!job || job.id !== id) return;
    failures = 0;
    const before = view?.state;
    view = await answer.json();
    draw();
    if (before !== view.state) trigger("moved", { job: id });
  } catch {
    failures += 1;
    if (job && job.id === id && failures > 2) line.textContent = "Connection lost. Retrying; the edit continues in the meantime";
  }
  if (job && job.id === id && !(view && view.final)) timer = setTimeout(ask, Math.min(700 * (1 + failures), 5000), id);
};

const receive = () => {
  const value = props.value || {};
  clearTimeout(timer);
  const changed = !job || job.id !== value.job;
  job = value.job ? { id: value.job, mine: Boolean(value.mine), link: value.link } : null;
  if (changed) {
    chosen = 0; way = "compare"; drawn = ""; failures = 0;
    preview.removeAttribute("src");
    preview.classList.remove("faded");
    delete preview.dataset.url;
    player.clear();
  }
  view = value.view || null;
  if (job && !job.mine) document.body.dataset.shared = "yes"; else delete document.body.dataset.shared;
  draw();
  if (changed && job) element.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
  if (job && !(view && view.final)) ask(job.id);
  if (job && changed && value.address !== false) {
    const url = new URL(location.href);
    url.searchParams.set("job", job.id);
    history.replaceState(history.state, "", url);
  }
};

watch("value", receive);
receive();
