// The compare player: original and edited clip in one frame, played together, with a line to pull across.
// The edited clip leads; the original follows at `start` seconds later, because it is the whole upload.

const comparePlayer = () => {
  const video = (name, label) =>
    make("video", { class: name, "data-testid": name, "aria-label": label, playsinline: true, preload: "auto" });
  const original = video("original", "Original clip");
  const edited = video("edited", "Edited clip");
  original.muted = edited.muted = true;
  const cut = make("input", {
    type: "range", class: "cut", min: 0, max: 100, step: 1, value: 50, "data-testid": "cut",
    "aria-label": "Where the original ends and the edited clip begins",
  });
  const box = make(
    "div", { class: "compare" }, original, edited,
    make("span", { class: "tag left", "aria-hidden": "true" }, "Original"),
    make("span", { class: "tag right", "aria-hidden": "true" }, "Edited"),
    make("span", { class: "line", "aria-hidden": "true" }), cut,
  );
  const toggle = make("button", { type: "button", class: "round", "data-testid": "play" });
  const mute = make("button", { type: "button", class: "round quiet", hidden: true });
  const seek = make("input", {
    type: "range", class: "seek", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "Time", "data-testid": "seek",
  });
  const time = make("output", { class: "time" });
  const controls = make("div", { class: "controls" }, toggle, seek, time, mute);
  let start = 0;
  let wanted = false;

  const face = () => {
    toggle.replaceChildren(icon(wanted ? "pause" : "play"));
    toggle.setAttribute("aria-label", wanted ? "Pause" : "Play");
    mute.replaceChildren(icon(edited.muted ? "silent" : "sound"));
    mute.setAttribute("aria-label", edited.muted ? "Turn sound on" : "Turn sound off");
  };
  const align = () => {
    const target = Math.min(start + edited.currentTime, (original.duration || Infinity) - 0.001);
    if (Math.abs(original.currentTime - target) > (wanted ? 0.08 : 0.005)) original.currentTime = target;
  };
  const show = () => {
    const length = edited.duration || 0;
    seek.max = length || 1;
    seek.value = edited.currentTime;
    seek.setAttribute("aria-valuetext", `${clock(edited.currentTime)} of ${clock(length)}`);
    time.textContent = `${edited.currentTime.toFixed(1)} / ${clock(length)}`;
    const heard = edited.mozHasAudio || edited.webkitAudioDecodedByteCount > 0;
    if (heard) mute.hidden = false;
  };
  const play = () => {
    wanted = true;
    face();
    align();
    Promise.all([edited.play(), original.play()]).catch(() => { wanted = false; face(); });
  };
  const pause = () => {
    wanted = false;
    edited.pause();
    original.pause();
    align();
    face();
  };
  const tick = () => {
    if (box.isConnected && wanted) {
      align();
      show();
      if (original.paused && !original.ended && !edited.paused) original.play().catch(() => {});
    }
    requestAnimationFrame(tick);
  };
  toggle.addEventListener("click", () => (wanted ? pause() : play()));
  mute.addEventListener("click", () => { edited.muted = !edited.muted; face(); });
  seek.addEventListener("input", () => { edited.currentTime = Number(seek.value); align(); show(); });
  cut.addEventListener("input", () => box.style.setProperty("--cut", `${cut.value}%`));
  edited.addEventListener("loadedmetadata", () => {
    box.style.setProperty("--ratio", edited.videoWidth / edited.videoHeight);
    align();
    show();
  });
  original.addEventListener("loadedmetadata", align);
  edited.addEventListener("seeked", () => { align(); show(); });
  edited.addEventListener("ended", () => { edited.currentTime = 0; align(); if (wanted) play(); });
  face();
  requestAnimationFrame(tick);

  return {
    box, controls, pause,
    load(originalUrl, editedUrl, offset) {
      const at = edited.currentTime;
      const again = original.dataset.url === originalUrl;
      start = offset;
      if (!again) { original.dataset.url = originalUrl; original.src = originalUrl; }
      if (edited.dataset.url !== editedUrl) {
        edited.dataset.url = editedUrl;
        edited.src = editedUrl;
        if (again) edited.addEventListener("loadedmetadata", () => { edited.currentTime = at; }, { once: true });
      }
      if (!calm()) play(); else face();
    },
    clear() {
      pause();
      for (const node of [original, edited]) {
        delete node.dataset.url;
        node.removeAttribute("src");
        node.load();
      }
    },
  };
};
