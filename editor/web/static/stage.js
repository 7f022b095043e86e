// The stage: what a job is doing, its preview, and its result. It asks the server for the job's state by itself,
// so a reload, a sleeping laptop or a server restart only makes it ask again.

const screen = element.querySelector(".screen");
const rail = element.querySelector(".rail");
const below = element.querySelector(".below");
const live = element.querySelector(".live");
const NAMES = { compare: _("Compare"), plain: _("Side by side"), frames: _("Frames"), all: _("All results") };

let job = null;      // {id, mine, link}; none while an example's finished edit is shown
let example = null;  // its number
let first = true;    // nothing has come from the server yet but the page itself
let view = null;
let takes = [];      // this edit in all strengths made so far: [{id, label}], the job among them
let chosen = 0;      // which result
let way = "compare"; // how it is looked at, a name of `NAMES`
let asked = null;    // {view, target, t} of the link that was opened, until there is a result
let resume = 0;      // where another take goes on playing, in seconds
let astray = [];     // what such a link named that does not exist
let timer = 0;
let failures = 0;
let drawn = "";
let said = "";

const rested = () => remember();
const frameCount = () => view?.results?.[chosen]?.frames ?? 0;
const player = comparePlayer(frameCount, rested);
let grid = null;     // {key, box, run}: all results in step
const running = () => (way === "compare" ? player.run : way === "all" && grid ? grid.run : null);

const emptyNode = screen.querySelector(".empty");
const preview = make("img", { class: "preview", alt: _("Original and edit so far, side by side"), "data-testid": "preview" });
const plain = make("video", {
  class: "plain", loop: true, playsinline: true, controls: true, preload: "metadata", "aria-label": _("Side by side"),
});
plain.muted = true;
const frames = make("img", { class: "frames", alt: _("Frames of the original above frames of the edit") });
const waiting = make("div", { class: "waiting" }, make("span", { class: "pulse", "aria-hidden": "true" }));
const backdrop = make("video", { class: "backdrop", playsinline: true, loop: true, preload: "auto", "aria-hidden": "true" });
backdrop.muted = true;

const line = make("p", { class: "status", "data-testid": "status" });
const left = make("p", { class: "left", "data-testid": "left" });
const bar = make("div", {
  class: "bar", role: "progressbar", "aria-label": _("Progress"), "aria-valuemin": 0, "aria-valuemax": 100,
}, make("span"));
const stop = button(_("Stop"), () => {
  stop.disabled = true;
  line.textContent = _("Stopping after this step");
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
  left.textContent = view.left ? _("about {time} left", { time: view.left }) : "";
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

const offered = () => Object.keys(NAMES).filter((name) =>
  (name !== "plain" || view.results[chosen].side_by_side) && (name !== "all" || view.results.length > 1));

const ways = () => make("div", { class: "ways", role: "group", "aria-label": _("View") }, ...offered().map(
  (name) => button(NAMES[name], () => look(name), { "aria-pressed": String(way === name) }),
));

const look = (name, target = chosen) => {
  running()?.pause();
  way = name;
  chosen = target;
  drawDone();
  remember();
};

const allResults = () => {
  const key = view.results.map((result) => result.edited).join();
  if (grid?.key !== key) {
    const caption = (n) => make("span", { marked: view.targets[n]?.marked ?? "" });
    const cells = view.results.map((r, n) => ({ url: address(r.edited), label: r.target, caption: caption(n) }));
    cells.unshift({ url: address(view.clip), label: _("Original clip"), caption: _("Original") });
    grid = { key, ...gridPlayer(cells, view.start, frameCount, rested) };
  }
  return grid;
};

// What the link asked for, once; what does not exist is said and left out.
const obey = () => {
  if (!asked) return null;
  const { view: name, target, t } = asked;
  asked = null;
  astray = [];
  if (target !== null) {
    const number = /^\d{1,3}$/.test(target) ? Number(target) : 0;
    if (number >= 1 && number <= view.results.length) chosen = number - 1; else astray.push(_("result {n}", { n: target.slice(0, 20) }));
  }
  if (name !== null) {
    if (offered().includes(name)) way = name; else astray.push(_("the view “{name}”", { name: name.slice(0, 20) }));
  }
  if (t === null) return null;
  if (/^\d{1,4}(\.\d{1,3})?$/.test(t)) return Number(t);
  astray.push(_("the time “{t}”", { t: t.slice(0, 20) }));
  return null;
};

// The place that is looked at, as the parameters of a link: only what differs from how a result opens.
const place = () => {
  const found = {};
  if (!view || view.state !== "done" || !job) return found;
  if (way !== "compare") found.view = way;
  if (chosen) found.target = String(chosen + 1);
  const run = running();
  if (run && !run.playing && run.at > 0.05) found.t = run.at.toFixed(2).replace(/\.?0+$/, "");
  return found;
};

const linked = (base) => {
  const url = new URL(base);
  for (const name of ["view", "target", "t"]) url.searchParams.delete(name);
  for (const [name, value] of Object.entries(place())) url.searchParams.set(name, value);
  return url.href;
};

const remember = () => {
  if (job && view?.state === "done") history.replaceState(history.state, "", linked(location.href));
};

const manifests = new Map(); // of the results that were looked at, by address
const manifestOf = (result) => {
  if (!result?.manifest) return Promise.resolve({});
  if (!manifests.has(result.manifest)) {
    manifests.set(result.manifest, fetch(address(result.manifest)).then((answer) => answer.json()).catch(() => ({})));
  }
  return manifests.get(result.manifest);
};

// A switch for the region over the player, where the manifest has one.
const drawActed = (result) => {
  player.know(null);
  manifestOf(result).then((manifest) => {
    if (way !== "compare" || view?.results?.[chosen] !== result || !manifest.acted) return;
    player.know(manifest.acted, manifest.motion?.keyframes ?? []);
    const node = button(_("Where it acted"), () => {
      player.show(!player.marked);
      node.setAttribute("aria-pressed", String(player.marked));
    }, { class: "plain-button", "aria-pressed": String(player.marked), "data-testid": "where-acted" });
    rail.append(node);
  });
};

const drawDone = () => {
  const at = obey();
  const result = view.results[chosen];
  if (way !== "compare") player.run.pause();
  if (way !== "plain") plain.pause();
  if (way !== "all") grid?.run.pause();
  if (way === "compare") {
    only(screen, player.box);
    player.load(address(view.clip), address(result.edited), view.start, at, resume);
    resume = 0;
  } else if (way === "plain") {
    if (plain.dataset.url !== result.side_by_side) {
      plain.dataset.url = result.side_by_side;
      plain.src = address(result.side_by_side);
    }
    only(screen, plain);
    if (at !== null) plain.addEventListener("loadedmetadata", () => { plain.currentTime = at; }, { once: true });
    else if (!calm()) plain.play().catch(() => {});
  } else if (way === "frames") {
    frames.src = address(result.strip);
    only(screen, frames);
  } else {
    only(screen, allResults().box);
    if (at !== null) { grid.run.pause(); grid.run.go(at); } else if (!calm()) grid.run.play();
  }
  only(rail, running()?.controls ?? make("div", { class: "controls" }), ways());
  if (way === "compare") drawActed(result);
  drawBelow();
};

const draw = () => {
  element.querySelector(".stage").dataset.state = !view ? "empty" : view.made ? "example" : view.state;
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
  player.run.pause();
  const poster = view.state === "unknown" || !view.preview ? [] : [preview];
  if (poster.length) preview.classList.add("faded");
  only(screen, ...poster, notice(view.title, view.state === "cancelled" ? _("You can change the words and run it again.") : view.error));
  rail.replaceChildren();
  if (view.state === "unknown") below.replaceChildren(afresh()); else drawBelow();
};

// The player by keys, wherever the focus is on the stage; sliders keep their arrows, buttons their space.
element.querySelector(".stage").addEventListener("keydown", (event) => {
  const act = view?.state === "done" && !event.ctrlKey && !event.metaKey && !event.altKey && running()?.keys[event.key];
  const own = event.target.matches("input") ? /^Arrow/ : event.target.matches("button, a, summary") ? /^ $/ : /^$/;
  if (!act || own.test(event.key)) return;
  event.preventDefault();
  act();
});

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
    if (job && job.id === id && failures > 2) line.textContent = _("Connection lost. Retrying; the edit continues in the meantime");
  }
  if (job && job.id === id && !(view && view.final)) timer = setTimeout(ask, Math.min(700 * (1 + failures), 5000), id);
};

const atWork = () => Boolean(job && !(view && view.final));

const receive = () => {
  const value = props.value || {};
  if (first) {
    first = false;
    const query = new URLSearchParams(location.search);
    if (query.has("job")) { // the page asks for it
      asked = { view: query.get("view"), target: query.get("target"), t: query.get("t") };
      only(screen, waiting);
      return;
    }
  }
  if (value.example !== undefined && atWork()) return; // an edit at work is not taken from the stage
  clearTimeout(timer);
  const changed = !job || job.id !== value.job || !value.job;
  const kin = changed && job && (value.takes || []).some((take) => take.id === job.id); // another take of the same edit
  job = value.job ? { id: value.job, mine: Boolean(value.mine), link: value.link } : null;
  example = value.example ?? null;
  takes = value.takes || [];
  if (changed) {
    if (!kin) { chosen = 0; way = "compare"; }
    resume = kin ? player.run.at : 0; drawn = ""; failures = 0; astray = []; grid?.run.pause(); grid = null;
    preview.removeAttribute("src");
    preview.classList.remove("faded");
    delete preview.dataset.url;
    player.clear();
  }
  view = value.view || null;
  if (job && !job.mine) document.body.dataset.shared = "yes"; else delete document.body.dataset.shared;
  draw();
  if (changed && job) screen.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
  if (job && !(view && view.final)) ask(job.id);
  if (changed && (job || example !== null)) {
    const url = new URL(location.href);
    if (!asked) for (const name of ["job", "view", "target", "t"]) url.searchParams.delete(name);
    if (job) url.searchParams.set("job", job.id);
    history.replaceState(history.state, "", url);
  }
};

watch("value", receive);
receive();
