// @ts-check
/** Beside the form of a rule: what it matches, while it is being written. */

import { Fragment, whenQuiet } from "./fragments.js";

const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#moderationrule_form"));
const panel = document.querySelector("#check");
const result = document.querySelector("#check-result");

if (form && panel instanceof HTMLElement && result instanceof HTMLElement) {
  const fragment = new Fragment(result);
  const pattern = form.querySelector("[name=pattern]");
  const look = () => {
    if (pattern instanceof HTMLTextAreaElement && pattern.value.trim()) {
      fragment.load(panel.dataset.address ?? "", form);
    } else {
      result.replaceChildren();
    }
  };
  form.addEventListener("input", whenQuiet(look));
  panel.querySelector("#check-button")?.setAttribute("hidden", "");
  look();
}
