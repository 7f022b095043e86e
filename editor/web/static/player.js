// Players of a result. Videos in one player run in step: the first edited clip leads, the others follow it. The
// original is the whole upload, so it is followed `start` seconds later.

const film = (name, label) =>
  make("video", { class: name, "data-testid": name, "aria-label": label, playsinline: true, preload: "auto" });

// Controls for several videos in step. `lead` is the clock; `followers()` gives [video, seconds it is later].
// `frames()` is how many frames the lead has, 0 if unknown; `rested` hears when it stands still somewhere.
const transport = (lead, followers, frames, rested, seen = () => {}) => {
  const toggle = make("button", { type: "button", class: "round", "data-testid": "play" });
  const mute = make("button", { type: "button", class: "round quiet", hidden: true });
  const seek = make("input", {
    type: "range", class: "seek", min: 0, max: 1, step: 0.01, value: 0, "aria-label": _("Time"), "data-testid": "seek",
  });
  const time = make("output", { class: "time" });
  const controls = make("div", { class: "controls" }, toggle, seek, time, mute);
  let wanted = false;

  const face = () => {
    toggle.replaceChildren(icon(wanted ? "pause" : "play"));
    toggle.setAttribute("aria-label", wanted ? _("Pause") : _("Play"));
    mute.replaceChildren(icon(lead.muted ? "silent" : "sound"));
    mute.setAttribute("aria-label", lead.muted ? _("Turn sound on") : _("Turn sound off"));
  };
  const align = () => {
    for (const [video, later] of followers()) {
      const target = Math.min(later + lead.currentTime, (video.duration || Infinity) - 0.001);
      if (Math.abs(video.currentTime - target) > (wanted ? 0.08 : 0.005)) video.currentTime = target;
    }
  };
  const show = () => {
    const length = lead.duration || 0;
    seek.max = length || 1;
    seek.value = lead.currentTime;
    seek.setAttribute("aria-valuetext", _("{at} of {length}", { at: clock(lead.currentTime), length: clock(length) }));
    seen(lead.currentTime, length);
    time.textContent = `${number(lead.currentTime, 1)} / ${clock(length)}`;
    if (lead.mozHasAudio || lead.webkitAudioDecodedByteCount > 0) mute.hidden = false;
  };
  const play = () => {
    wanted = true;
    face();
    align();
    const all = [lead, ...followers().map(([video]) => video)];
    Promise.all(all.map((video) => video.play())).catch(() => { wanted = false; face(); });
  };
  const pause = () => {
    wanted = false;
    lead.pause();
    for (const [video] of followers()) video.pause();
    align();
    face();
  };
  const go = (seconds) => {
    lead.currentTime = Math.max(0, Math.min(seconds, (lead.duration || Infinity) - 0.001));
    align();
    show();
    if (!wanted) rested();
  };
  const step = (count) => {
    if (wanted) pause();
    const one = (lead.duration || 0) / (frames() || 24 * (lead.duration || 1));
    go((Math.floor(lead.currentTime / one + 0.01) + count + 0.5) * one); // the middle of a frame is surely that frame
  };
  const tick = () => {
    if (lead.isConnected && wanted) {
      align();
      show();
      for (const [video] of followers()) {
        if (video.paused && !video.ended && !lead.paused) video.play().catch(() => {});
      }
    }
    requestAnimationFrame(tick);
  };
  toggle.addEventListener("click", () => { if (wanted) { pause(); rested(); } else play(); });
  mute.addEventListener("click", () => { lead.muted = !lead.muted; face(); });
  seek.addEventListener("input", () => go(Number(seek.value)));
  lead.addEventListener("loadedmetadata", () => { align(); show(); });
  lead.addEventListener("seeked", () => { align(); show(); });
  lead.addEventListener("ended", () => { lead.currentTime = 0; align(); if (wanted) play(); });
  face();
  requestAnimationFrame(tick);

  const keys = {
    " ": () => toggle.click(), ArrowLeft: () => go(lead.currentTime - 0.5), ArrowRight: () => go(lead.currentTime + 0.5),
    ",": () => step(-1), ".": () => step(1),
  };
  return { controls, play, pause, go, keys, face, align, get playing() { return wanted; }, get at() { return lead.currentTime; } };
};

// The number of the keyframe that is nearest to a frame.
const nearest = (keyframes, frame) =>
  keyframes.reduce((best, at, i) => (Math.abs(at - frame) < Math.abs(keyframes[best] - frame) ? i : best), 0);

// Where the model looked for a word, over the original and over the edit. In the picture of the maps a row is a word,
// a column a keyframe.
const wordOverlay = (edited, frames) => {
  const canvases = ["original", "edited"].map((side) =>
    make("canvas", { class: `looked ${side}`, "data-testid": `looked-${side}`, "aria-hidden": "true", hidden: true }));
  const sheet = make("canvas");
  let maps = null; // what a result says of its picture
  let url = null;
  let ready = false;
  let asked = null; // the address that is fetched, or was
  let rows = null; // the word's row for each canvas
  const draw = () => {
    const on = Boolean(ready && rows && edited.duration);
    for (const [n, canvas] of canvases.entries()) {
      canvas.hidden = !on;
      if (!on) continue;
      const [width, height] = maps.size;
      const column = nearest(maps.keyframes, (edited.currentTime / edited.duration) * frames());
      const map = sheet.getContext("2d").getImageData(column * width, rows[n] * height, width, height);
      for (let i = 0; i < map.data.length; i += 4) {
        const level = map.data[i] / 255; // dark where the model did not look
        map.data.set([20 * level, 184 * level, 166 * level, 150 - 40 * level], i);
      }
      Object.assign(canvas, { width, height });
      canvas.getContext("2d").putImageData(map, 0, 0);
    }
  };
  // The picture is fetched when the first word is pointed at.
  const fetchSheet = () => {
    if (asked === url) return;
    const mine = asked = url;
    const picture = new Image();
    picture.src = mine;
    picture.decode().then(() => {
      if (mine !== url) return;
      Object.assign(sheet, { width: picture.width, height: picture.height });
      sheet.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0);
      ready = true;
      draw();
    }).catch(() => { if (asked === mine) asked = null; });
  };
  return {
    canvases, draw,
    read(address, found) {
      if (address !== url) { ready = false; asked = null; }
      [url, maps, rows] = [address, found, null];
      draw();
    },
    look(word) {
      rows = word;
      if (rows && !ready) fetchSheet();
      draw();
    },
  };
};

// Original and edited clip in one frame, with a line to pull across.
const comparePlayer = (frames, rested) => {
  const original = film("original", _("Original clip"));
  const edited = film("edited", _("Edited clip"));
  original.muted = edited.muted = true;
  const cut = make("input", {
    type: "range", class: "cut", min: 0, max: 100, step: 1, value: 50, "data-testid": "cut",
    "aria-label": _("Where the original ends and the edited clip begins"),
  });
  const box = make(
    "div", { class: "compare" }, original, edited,
    make("span", { class: "tag left", "aria-hidden": "true" }, _("Original")),
    make("span", { class: "tag right", "aria-hidden": "true" }, _("Edited")),
    make("span", { class: "line", "aria-hidden": "true" }), cut,
  );
  // Where the edit acted, over the edited half: one mask per keyframe.
  const acted = make("canvas", { class: "acted", "data-testid": "acted", "aria-hidden": "true", hidden: true });
  edited.after(acted);
  let marks = null; // {width, height, masks: [bytes], keyframes: [number]}
  const mark = (seconds, length) => {
    if (!marks || acted.hidden || !length) return;
    const near = nearest(marks.keyframes, (seconds / length) * frames());
    const context = acted.getContext("2d");
    const pixels = context.createImageData(marks.width, marks.height);
    for (let i = 0; i < marks.width * marks.height; i += 1) {
      const inside = (marks.masks[near][i >> 3] >> (7 - (i & 7))) & 1;
      pixels.data.set(inside ? [20, 184, 166, 120] : [0, 0, 0, 90], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
  };
  const maps = wordOverlay(edited, frames);
  acted.after(...maps.canvases);
  let start = 0;
  const run = transport(edited, () => [[original, start]], frames, rested, (...at) => { mark(...at); maps.draw(); });
  cut.addEventListener("input", () => box.style.setProperty("--cut", `${cut.value}%`));
  edited.addEventListener("loadedmetadata", () => {
    box.style.setProperty("--ratio", edited.videoWidth / edited.videoHeight);
  });
  original.addEventListener("loadedmetadata", run.align);

  return {
    box, run, read: maps.read, look: maps.look,
    // `found`: what a manifest says under `acted`, null: nothing; `keyframes`: the frames that its masks belong to
    know(found, keyframes) {
      marks = null;
      if (!found) { acted.hidden = true; return; }
      const [width, height] = found.size;
      [acted.width, acted.height] = found.size;
      const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      marks = { width, height, masks: found.masks.map(bytes), keyframes };
      mark(edited.currentTime, edited.duration);
    },
    get marked() { return !acted.hidden; },
    show(on) { acted.hidden = !on; mark(edited.currentTime, edited.duration); },
    // `at`: seconds to stand still at, null: play on
    // and `resume`: from here
    load(originalUrl, editedUrl, offset, at, resume) {
      const before = resume || edited.currentTime;
      const again = original.dataset.url === originalUrl;
      start = offset;
      if (!again) { original.dataset.url = originalUrl; original.src = originalUrl; }
      if (edited.dataset.url !== editedUrl) {
        edited.dataset.url = editedUrl;
        edited.src = editedUrl;
        const from = at ?? (again || resume ? before : 0);
        if (from) edited.addEventListener("loadedmetadata", () => run.go(from), { once: true });
      } else if (at !== null) run.go(at);
      if (!calm() && at === null) run.play(); else run.face();
    },
    clear() {
      run.pause();
      for (const node of [original, edited]) {
        delete node.dataset.url;
        node.removeAttribute("src");
        node.load();
      }
    },
  };
};

// The original and all results in one grid, in step. `cells`: [{url, node for the caption, label}], original first.
const gridPlayer = (cells, start, frames, rested) => {
  const videos = cells.map(({ url, label }) => {
    const video = make("video", { src: url, playsinline: true, preload: "auto", "aria-label": label });
    video.muted = true;
    return video;
  });
  const box = make("div", { class: "all" }, ...videos.map((video, n) =>
    make("figure", {}, video, make("figcaption", {}, cells[n].caption))));
  const [original, lead, ...rest] = videos;
  const run = transport(lead, () => [[original, start], ...rest.map((video) => [video, 0])], frames, rested);
  if (!calm()) run.play();
  return { box, run };
};
