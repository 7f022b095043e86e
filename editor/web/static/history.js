// This visitor's edits. value: [{id, title, state, poster, marked}]

const grid = element.querySelector(".grid");
const none = element.querySelector(".none");

const card = (job) => {
  const remove = button("Delete", () => {
    if (remove.dataset.sure) { trigger("remove", { job: job.id }); return; }
    remove.dataset.sure = "yes";
    remove.textContent = "Really?";
    setTimeout(() => { delete remove.dataset.sure; remove.textContent = "Delete"; }, 4000);
  }, { class: "link-button", "aria-label": `Delete this edit: ${job.text}` });
  const open = make("button", {
    type: "button", class: "open", "data-testid": "history-open", "aria-label": `Open: ${job.text}`,
    onclick: () => trigger("open", { job: job.id }),
  }, job.poster ? make("img", { src: address(job.poster), alt: "", loading: "lazy" }) : make("span", { class: "blank" }, job.title));
  return make("li", { "data-job": job.id }, open, make("p", { class: "marked", marked: job.marked }),
    make("div", { class: "row" }, make("span", { class: "state" }, job.when),
      job.final ? button("Edit again", () => trigger("again", { job: job.id }), { class: "link-button" }) : null,
      job.final ? remove : null));
};

const receive = () => {
  const jobs = props.value || [];
  none.hidden = jobs.length > 0;
  grid.replaceChildren(...jobs.map(card));
};

watch("value", receive);
receive();
