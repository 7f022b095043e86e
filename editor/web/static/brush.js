// A brush on the clip's picture: where the edit may act. Strokes are kept as they are drawn, so each can be taken back.
// `changed` hears of every new state; `picture()` gives it as a PNG, white on black, in base64, "" where nothing is painted.

const SIDE = 160; // pixels of the longer side that a region is kept at

const brush = (video, changed) => {
  const canvas = make("canvas", {
    class: "brush", tabindex: 0, role: "application", "data-testid": "brush",
    "aria-label": _("Paint where the edit may act. Arrow keys move the brush, space paints, Backspace takes back."),
  });
  const ink = canvas.getContext("2d");
  let before = null;   // an image of what was painted earlier
  let strokes = [];    // [{width, points: [[x, y]]}], all in parts of the picture's width and height
  let width = 0.14;
  let cursor = [0.5, 0.5];

  const trace = (context, colour) => {
    const { width: w, height: h } = context.canvas;
    if (before) context.drawImage(before, 0, 0, w, h);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = colour;
    for (const stroke of strokes) {
      context.lineWidth = stroke.width * Math.max(w, h);
      context.beginPath();
      const [first, ...rest] = stroke.points.map(([x, y]) => [x * w, y * h]);
      context.moveTo(...first);
      for (const point of rest.length ? rest : [[first[0] + 0.01, first[1]]]) context.lineTo(...point);
      context.stroke();
    }
  };
  const draw = () => {
    ink.globalCompositeOperation = "source-over";
    ink.clearRect(0, 0, canvas.width, canvas.height);
    trace(ink, "#fff");
    ink.globalCompositeOperation = before ? "multiply" : "source-atop";
    ink.fillStyle = "#14b8a6";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    if (before) { // what was black lets the clip through
      const pixels = ink.getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < pixels.data.length; i += 4) if (pixels.data[i + 1] < 90) pixels.data[i + 3] = 0;
      ink.putImageData(pixels, 0, 0);
    }
    if (document.activeElement === canvas) {
      ink.globalCompositeOperation = "source-over";
      ink.strokeStyle = "#fff";
      ink.lineWidth = 1;
      ink.beginPath();
      ink.arc(cursor[0] * canvas.width, cursor[1] * canvas.height, (width / 2) * Math.max(canvas.width, canvas.height), 0, 7);
      ink.stroke();
    }
  };
  const tell = () => { draw(); changed(); };

  // The canvas lies on the picture itself, not on the bars beside it.
  const place = () => {
    const { videoWidth: w, videoHeight: h } = video;
    const box = video.getBoundingClientRect();
    if (!w || !box.width) return;
    const scale = Math.min(box.width / w, box.height / h);
    Object.assign(canvas.style, {
      inlineSize: `${w * scale}px`, blockSize: `${h * scale}px`,
      insetInlineStart: `${(box.width - w * scale) / 2}px`, insetBlockStart: `${(box.height - h * scale) / 2}px`,
    });
    const size = [w, h].map((side) => Math.max(1, Math.round((SIDE * side) / Math.max(w, h))));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    draw();
  };
  new ResizeObserver(place).observe(video);
  video.addEventListener("loadedmetadata", place);

  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    cursor = spot(event);
    strokes.push({ width, points: [cursor] });
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    cursor = spot(event);
    if (canvas.hasPointerCapture(event.pointerId)) strokes.at(-1).points.push(cursor);
    draw();
  });
  canvas.addEventListener("pointerup", tell);
  canvas.addEventListener("pointercancel", tell);
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", draw);
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (by) {
      cursor = cursor.map((at, i) => Math.min(1, Math.max(0, at + by[i] * 0.04)));
      draw();
    } else if (event.key === " ") {
      strokes.push({ width, points: [cursor] });
      tell();
    } else if (event.key === "Backspace") undo();
    else return;
    event.preventDefault();
  });

  const undo = () => {
    if (strokes.length) strokes.pop(); else before = null;
    tell();
  };
  const size = make("input", { type: "range", min: 0.04, max: 0.4, step: 0.02, value: width, "aria-label": _("Width of the brush") });
  size.addEventListener("input", () => { width = Number(size.value); draw(); });
  const tools = make("div", { class: "brush-tools" }, size,
    button(_("Undo"), undo, { class: "link-button" }),
    button(_("Clear"), () => { strokes = []; before = null; tell(); }, { class: "link-button" }));

  return {
    canvas, tools, place,
    picture() {
      if (!strokes.length && !before) return "";
      const whole = make("canvas", { width: canvas.width, height: canvas.height });
      const context = whole.getContext("2d");
      context.fillRect(0, 0, whole.width, whole.height);
      trace(context, "#fff");
      return whole.toDataURL("image/png").split(",")[1];
    },
    load(text) {
      strokes = [];
      before = null;
      draw();
      if (!text) return;
      const image = new Image();
      image.onload = () => { before = image; draw(); };
      image.src = `data:image/png;base64,${text}`;
    },
  };
};
