// @ts-check
/** The form of a rule: shows what the rule matches while it is being edited. */

import { Fragment, debounce } from "./fragments.js";

const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#moderationrule_form"));
const panel = document.querySelector("#check");
const result = document.querySelector("#check-result");

if (form && panel instanceof HTMLElement && result instanceof HTMLElement) {
  const fragment = new Fragment(result);
  const pattern = form.querySelector("[name=pattern]");
  const check = () => {
    if (pattern instanceof HTMLTextAreaElement && pattern.value.trim()) {
      fragment.load(panel.dataset.address ?? "", form);
    } else {
      fragment.clear();
    }
  };
  form.addEventListener("input", debounce(check));
  panel.querySelector("#check-button")?.setAttribute("hidden", "");
  check();
}
