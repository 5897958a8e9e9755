// @ts-check
/** Try it: the trial follows the form, and can be played piece by piece. */

import { Fragment, whenQuiet } from "./fragments.js";

const form = /** @type {HTMLFormElement} */ (document.querySelector("#try-form"));
const place = /** @type {HTMLElement} */ (document.querySelector("#trial"));
const fragment = new Fragment(place);
const PIECE_MILLISECONDS = 120;

const load = whenQuiet(() => fragment.load(form.action, form));
form.addEventListener("input", (event) => {
  if (event.target instanceof HTMLInputElement && event.target.type === "range") {
    const output = form.querySelector(`output[for=${event.target.id}]`);
    if (output) output.textContent = event.target.value;
  }
  load();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  fragment.load(form.action, form);
});
place.addEventListener("loaded", offerToPlay);
offerToPlay();

/** Makes the player of the trial that is shown: after each piece, what has left, and what is held. */
function offerToPlay() {
  const player = place.querySelector(".steps-player");
  const slider = player?.querySelector("input");
  const button = player?.querySelector("button");
  const soFar = player?.querySelector("[data-part=so-far]");
  const held = player?.querySelector("[data-part=held]");
  if (!(player instanceof HTMLElement) || !slider || !button || !soFar || !held) return;
  const rows = [...place.querySelectorAll(".steps-table tbody tr")];
  const left = rows.map((row) => row.querySelector("[data-part=left]")?.textContent ?? "");
  const kept = rows.map((row) => row.querySelector("[data-part=held]")?.textContent ?? "");
  const show = () => {
    const count = slider.valueAsNumber;
    soFar.textContent = left.slice(0, count).join("");
    held.textContent = count ? kept[count - 1] : "";
  };
  const play = () => {
    if (!slider.isConnected || slider.valueAsNumber >= rows.length) return;
    slider.valueAsNumber += 1;
    show();
    setTimeout(play, PIECE_MILLISECONDS);
  };
  slider.addEventListener("input", (event) => {
    event.stopPropagation();
    show();
  });
  button.addEventListener("click", () => {
    slider.valueAsNumber = 0;
    play();
  });
  player.hidden = false;
  show();
}
