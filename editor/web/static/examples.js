// The example clips as a row of pictures that play when looked at. value: [{title}]

const row = element.querySelector(".row");

const card = (example, n) => {
  const video = make("video", {
    poster: address(`example/${n}.webp`), preload: "none", loop: true, playsinline: true, "aria-hidden": "true", tabindex: -1,
  });
  video.muted = true;
  const start = () => {
    if (calm()) return;
    if (!video.src) video.src = address(`example/${n}.mp4`);
    video.play().catch(() => {});
  };
  const node = make("button", {
    type: "button", class: "example", "data-testid": `example-${n}`,
    onclick: () => trigger("choose", { index: n }),
    onmouseenter: start, onfocus: start, onmouseleave: () => video.pause(), onblur: () => video.pause(),
  }, video, make("span", {}, example.title));
  return node;
};

const receive = () => row.replaceChildren(...(props.value || []).map(card));

watch("value", receive);
receive();
