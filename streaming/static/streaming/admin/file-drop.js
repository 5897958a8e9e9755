// @ts-check
/** The import page: a file can be dropped anywhere on the form. */

const form = document.querySelector("#import-form");
const file = form?.querySelector("input[type=file]");

if (form instanceof HTMLFormElement && file instanceof HTMLInputElement) {
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("dragged");
  });
  form.addEventListener("dragleave", () => form.classList.remove("dragged"));
  form.addEventListener("drop", (event) => {
    form.classList.remove("dragged");
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    file.files = event.dataTransfer.files;
  });
}
